package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

var checks = []check{
	{name: "version", run: version},
	{name: "apis", run: apis},
	{name: "status", run: status},
	{name: "metrics", run: metrics},
	{name: "create", run: create},
	{name: "create-unclosed", run: createUnclosed},
	{name: "generate", run: generate},
	{name: "decrypt", run: decryptErrors},
	{name: "empty-body", run: emptyBody},
	{name: "encrypt", run: encrypt},
	{name: "import", run: importing},
	{name: "delete", run: deleting},
	{name: "describe", run: describe},
	{name: "hmac", run: hmac},
	{name: "list", run: list},
	{name: "names", run: names},
	{name: "large-body", run: largeBody},
	{name: "parallel", run: parallel},
	{name: "policies", run: policies},
	{name: "identities", run: identities},
	{name: "self", run: self},
	{name: "audit-log", run: auditLog},
	{name: "error-log", run: errorLog, alone: true},
	{name: "list-5000", run: list5000, alone: true},
	{name: "denied", run: denied, alone: true},
	{name: "encrypted-key", run: encryptedKey, alone: true},
}

// fixture is a client with key names of its own.
type fixture struct {
	*client
	protocol protocol
	who      credential
	prefix   string
}

func newFixture(c *client, w protocol, who credential) *fixture {
	random := make([]byte, 8)
	// Documented never to fail.
	_, _ = rand.Read(random)
	return &fixture{c, w, who, "my-go-" + hex.EncodeToString(random)}
}

// key makes a fresh key.
func (s *fixture) key(name string) (string, error) {
	name = s.prefix + "-" + name
	return name, s.createKey(name)
}

// want says what was wrong with an error.
func want(err error, wanted apiError) error {
	var got apiError
	if !errors.As(err, &got) || got != wanted {
		return fmt.Errorf("'%v' instead of '%v'", err, wanted)
	}
	return nil
}

func create(s *fixture) error {
	key, err := s.key("k")
	if err != nil {
		return err
	}
	return want(s.createKey(key), errKeyExists)
}

// createUnclosed makes 50 keys and never closes an answer's body. That costs no connection only if
// the bodies are empty.
func createUnclosed(s *fixture) error {
	for at := range 50 {
		if _, err := s.key(fmt.Sprint(at)); err != nil {
			return err
		}
	}
	if dials := s.dials.Load(); dials != 1 {
		return fmt.Errorf("50 creates took %d connections", dials)
	}
	return nil
}

func generate(s *fixture) error {
	key, err := s.key("k")
	if err != nil {
		return err
	}
	for _, context := range [][]byte{nil, []byte("{}"), []byte(`{"bucket":"bucket/object"}`)} {
		made, err := s.generateKey(key, context)
		if err != nil {
			return err
		}
		if len(made.Plaintext) != 32 || len(made.Ciphertext) == 0 {
			return fmt.Errorf("%d bytes of key, %d of ciphertext", len(made.Plaintext), len(made.Ciphertext))
		}
		plaintext, err := s.decrypt(key, made.Ciphertext, context)
		if err != nil {
			return err
		}
		if !bytes.Equal(plaintext, made.Plaintext) {
			return errors.New("another key came back")
		}
	}
	_, err = s.generateKey(s.prefix+"-none", nil)
	return want(err, errKeyNotFound)
}

func decryptErrors(s *fixture) error {
	key, err := s.key("k")
	if err != nil {
		return err
	}
	context := []byte(`{"bucket":"bucket/object"}`)
	made, err := s.generateKey(key, context)
	if err != nil {
		return err
	}
	for _, other := range [][]byte{nil, []byte("{}"), []byte(`{"bucket":"bucket/other"}`)} {
		if _, err := s.decrypt(key, made.Ciphertext, other); want(err, errDecrypt) != nil {
			return want(err, errDecrypt)
		}
	}
	for _, garbage := range [][]byte{nil, []byte("x"), []byte("{}"), make([]byte, 100)} {
		if _, err := s.decrypt(key, garbage, context); want(err, errDecrypt) != nil {
			return want(err, errDecrypt)
		}
	}
	if _, err := s.decrypt(s.prefix+"-none", made.Ciphertext, context); want(err, errKeyNotFound) != nil {
		return want(err, errKeyNotFound)
	}
	_, err = s.decrypt(key, made.Ciphertext, context)
	return err
}

// emptyBody sends what failover leaves of a body that another endpoint has read: nothing.
func emptyBody(s *fixture) error {
	key, err := s.key("k")
	if err != nil {
		return err
	}
	for _, operation := range []string{"generate", "encrypt", "decrypt", "hmac"} {
		request, err := http.NewRequest(
			http.MethodPost,
			s.endpoint+route("/v1/key/"+operation, key),
			struct{ *bytes.Reader }{bytes.NewReader(nil)},
		)
		if err != nil {
			return err
		}
		response, err := s.http.Do(request)
		if err != nil {
			return err
		}
		err = parseError(response)
		response.Body.Close()
		if err := want(err, apiError{400, "request body is empty"}); err != nil {
			return fmt.Errorf("%s: %w", operation, err)
		}
	}
	return nil
}

func encrypt(s *fixture) error {
	key, err := s.key("k")
	if err != nil {
		return err
	}
	for _, plaintext := range [][]byte{{}, []byte("hello"), make([]byte, 500_000)} {
		ciphertext, err := s.encrypt(key, plaintext, []byte("c"))
		if err != nil {
			return err
		}
		opened, err := s.decrypt(key, ciphertext, []byte("c"))
		if err != nil {
			return err
		}
		if !bytes.Equal(opened, plaintext) {
			return errors.New("another plaintext came back")
		}
	}
	return nil
}

func importing(s *fixture) error {
	material := bytes.Repeat([]byte{7}, 32)
	for at, cipher := range []string{"AES256", "ChaCha20", "AES256-GCM_SHA256", "XCHACHA20-POLY1305"} {
		key := fmt.Sprintf("%s-%d", s.prefix, at)
		if err := s.importKey(key, material, cipher); err != nil {
			return err
		}
		if err := want(s.importKey(key, material, cipher), errKeyExists); err != nil {
			return err
		}
		if _, err := s.generateKey(key, nil); err != nil {
			return err
		}
	}
	err := s.importKey(s.prefix+"-x", material[:31], "AES256")
	return want(err, apiError{406, "invalid key size for 'AES256'"})
}

func deleting(s *fixture) error {
	key, err := s.key("k")
	if err != nil {
		return err
	}
	if err := s.deleteKey(key); err != nil {
		return err
	}
	if err := want(s.deleteKey(key), errKeyNotFound); err != nil {
		return err
	}
	_, err = s.generateKey(key, nil)
	return want(err, errKeyNotFound)
}

func hmac(s *fixture) error {
	key, err := s.key("k")
	if err != nil {
		return err
	}
	first, err := s.hmac(key, []byte("root access key"))
	if err != nil {
		return err
	}
	again, err := s.hmac(key, []byte("root access key"))
	if err != nil {
		return err
	}
	other, err := s.hmac(key, []byte("root secret key"))
	if err != nil {
		return err
	}
	if len(first) != 32 || !bytes.Equal(first, again) || bytes.Equal(first, other) {
		return errors.New("not a keyed hash of the message")
	}
	_, err = s.hmac(s.prefix+"-none", nil)
	return want(err, errKeyNotFound)
}

func list(s *fixture) error {
	var made []string
	for _, name := range []string{"a", "b", "c"} {
		key, err := s.key(name)
		if err != nil {
			return err
		}
		made = append(made, key)
	}
	for _, pattern := range []string{s.prefix, s.prefix + "*", s.prefix + "-*"} {
		listed, err := s.listAll("/v1/key/list", pattern)
		if err != nil {
			return err
		}
		if !slices.Equal(listed, made) {
			return fmt.Errorf("'%s': %v instead of %v", pattern, listed, made)
		}
	}
	for _, pattern := range []string{"", "*"} {
		listed, err := s.listAll("/v1/key/list", pattern)
		if err != nil {
			return err
		}
		if !slices.Contains(listed, made[0]) || !slices.IsSorted(listed) {
			return fmt.Errorf("'%s': %v", pattern, listed)
		}
	}
	return nil
}

func list5000(s *fixture) error {
	listed, err := s.listAll("/v1/key/list", "*")
	if err != nil {
		return err
	}
	all := make([]string, 5000)
	for at := range all {
		all[at] = fmt.Sprintf("my-key-%d", at)
	}
	slices.Sort(all)
	if !slices.Equal(listed, all) {
		return fmt.Errorf("%d names", len(listed))
	}
	return nil
}

// names are what S3 clients can make MinIO send.
func names(s *fixture) error {
	for _, name := range []string{"", ".", "..", "a/b", "a b", "a:b", "ä€", "*", strings.Repeat("k", 81)} {
		_, err := s.generateKey(name, nil)
		var refused apiError
		if !errors.As(err, &refused) || refused.status < 400 || refused.status >= 500 {
			return fmt.Errorf("'%s': %w", name, err)
		}
		if refused == errKeyNotFound {
			return fmt.Errorf("'%s' is said not to exist", name)
		}
	}
	return nil
}

func largeBody(s *fixture) error {
	key, err := s.key("k")
	if err != nil {
		return err
	}
	context := make([]byte, 740_000)
	made, err := s.generateKey(key, context)
	if err != nil {
		return err
	}
	if _, err := s.decrypt(key, made.Ciphertext, context); err != nil {
		return err
	}
	_, err = s.generateKey(key, make([]byte, 1<<20))
	var refused apiError
	if !errors.As(err, &refused) || refused.status != 413 {
		return fmt.Errorf("too large: %w", err)
	}
	return nil
}

// parallel does what MinIO does: many calls at once, over h2 on one connection.
func parallel(s *fixture) error {
	key, err := s.key("k")
	if err != nil {
		return err
	}
	calls := 250
	if s.protocol.proto == "h1" {
		calls = 32
	}
	failures := make(chan error, calls)
	var group sync.WaitGroup
	for range calls {
		group.Add(1)
		go func() {
			defer group.Done()
			made, err := s.generateKey(key, []byte("c"))
			if err == nil {
				_, err = s.decrypt(key, made.Ciphertext, []byte("c"))
			}
			failures <- err
		}()
	}
	group.Wait()
	close(failures)
	for err := range failures {
		if err != nil {
			return err
		}
	}
	if dials := s.dials.Load(); s.protocol.proto == "h2" && dials != 1 {
		return fmt.Errorf("%d connections over h2", dials)
	}
	return nil
}

// denied is for an identity without a policy.
func denied(s *fixture) error {
	calls := map[string]func() error{
		"create":   func() error { return s.createKey("k") },
		"import":   func() error { return s.importKey("k", make([]byte, 32), "AES256") },
		"delete":   func() error { return s.deleteKey("k") },
		"generate": func() error { _, err := s.generateKey("k", nil); return err },
		"encrypt":  func() error { _, err := s.encrypt("k", nil, nil); return err },
		"decrypt":  func() error { _, err := s.decrypt("k", nil, nil); return err },
		"hmac":     func() error { _, err := s.hmac("k", nil); return err },
		"list":     func() error { _, err := s.listAll("/v1/key/list", ""); return err },
		"status":   func() error { return s.get("/v1/status", &struct{}{}, mib) },
	}
	for name, call := range calls {
		if err := want(call(), errNotAllowed); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
