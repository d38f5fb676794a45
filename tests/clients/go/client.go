package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
	"time"
)

const (
	mib          = 1 << 20
	versionLimit = 1 << 10
	hmacLimit    = 1000
)

// protocol is how the client talks to the server.
type protocol struct {
	proto string // h1 or h2
	tls   uint16
}

func (w protocol) String() string {
	return w.proto + " " + strings.ReplaceAll(tls.VersionName(w.tls), " ", "")
}

// client speaks to one server as the one in MinIO does.
type client struct {
	endpoint string
	roots    *x509.CertPool
	http     http.Client
	dials    atomic.Int64
}

// apiError is an answer of 400 and above. Status and message together say what happened; they are
// compared exactly.
type apiError struct {
	status  int
	message string
}

func (e apiError) Error() string { return fmt.Sprintf("%d: %s", e.status, e.message) }

var (
	errNotAllowed  = apiError{403, "not authorized: insufficient permissions"}
	errKeyNotFound = apiError{404, "key does not exist"}
	errKeyExists   = apiError{400, "key already exists"}
	errDecrypt     = apiError{400, "decryption failed: ciphertext is not authentic"}
)

func newClient(endpoint string, roots *x509.CertPool, who credential, w protocol) *client {
	c := &client{endpoint: strings.TrimSuffix(endpoint, "/"), roots: roots}
	dialer := net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c.dials.Add(1)
			return dialer.DialContext(ctx, network, address)
		},
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        100,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second,
		TLSClientConfig: &tls.Config{
			MinVersion:         w.tls,
			MaxVersion:         w.tls,
			RootCAs:            roots,
			ClientSessionCache: tls.NewLRUClientSessionCache(8),
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &who.certificate, nil
			},
		},
	}
	if w.proto == "h1" {
		transport.ForceAttemptHTTP2 = false
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	c.http.Transport = transport
	return c
}

// route joins an API path and a name as the client in MinIO does: escaped, then cleaned.
func route(api, name string) string {
	return path.Join(api, url.PathEscape(name))
}

// send sends a request. A body goes without its length: chunked on HTTP/1.1, bare on h2.
func (c *client) send(method, target string, body any, contentType string) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		reader = struct{ io.Reader }{bytes.NewReader(text)}
	}
	request, err := http.NewRequest(method, c.endpoint+target, reader)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		return nil, parseError(response)
	}
	return response, nil
}

// parseError reads an error. What is not one below 400 counts as success there; here it does not.
func parseError(response *http.Response) error {
	if response.StatusCode < 400 {
		return fmt.Errorf("status %d is neither 200 nor an error", response.StatusCode)
	}
	limit := response.ContentLength
	if limit < 0 || limit > mib {
		limit = mib
	}
	body := io.LimitReader(response.Body, limit)
	if strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		var message struct {
			Error   string `json:"error"`
			Message string `json:"message"`
		}
		if err := json.NewDecoder(body).Decode(&message); err != nil {
			return fmt.Errorf("error body: %w", err)
		}
		if message.Error != "" {
			return apiError{response.StatusCode, message.Error}
		}
		return apiError{response.StatusCode, message.Message}
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	return apiError{response.StatusCode, string(text)}
}

// call sends a request and decodes the answer.
func (c *client) call(method, target string, body, answer any, limit int64) error {
	contentType := ""
	if body != nil && method == http.MethodPost {
		contentType = "application/json"
	}
	response, err := c.send(method, target, body, contentType)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(io.LimitReader(response.Body, limit)).Decode(answer)
}

func (c *client) get(target string, answer any, limit int64) error {
	return c.call(http.MethodGet, target, nil, answer, limit)
}

// command sends a request whose answer is empty and leaves the answer's body open.
func (c *client) command(method, target string, body any) error {
	contentType := ""
	if body != nil {
		contentType = "application/json"
	}
	_, err := c.send(method, target, body, contentType)
	return err
}

func (c *client) createKey(name string) error {
	return c.command(http.MethodPost, route("/v1/key/create", name), nil)
}

func (c *client) importKey(name string, key []byte, cipher string) error {
	body := struct {
		Key    []byte `json:"key"`
		Cipher string `json:"cipher"`
	}{key, cipher}
	return c.command(http.MethodPost, route("/v1/key/import", name), body)
}

func (c *client) deleteKey(name string) error {
	return c.command(http.MethodDelete, route("/v1/key/delete", name), nil)
}

type dataKey struct {
	Plaintext  []byte `json:"plaintext"`
	Ciphertext []byte `json:"ciphertext"`
	Version    string `json:"version"`
}

func (c *client) generateKey(name string, context []byte) (dataKey, error) {
	body := struct {
		Context []byte `json:"context,omitempty"`
	}{context}
	var answer dataKey
	err := c.call(http.MethodPost, route("/v1/key/generate", name), body, &answer, mib)
	return answer, err
}

func (c *client) encrypt(name string, plaintext, context []byte) ([]byte, error) {
	body := struct {
		Plaintext []byte `json:"plaintext"`
		Context   []byte `json:"context,omitempty"`
	}{plaintext, context}
	var answer struct {
		Ciphertext []byte `json:"ciphertext"`
	}
	err := c.call(http.MethodPost, route("/v1/key/encrypt", name), body, &answer, mib)
	return answer.Ciphertext, err
}

func (c *client) decrypt(name string, ciphertext, context []byte) ([]byte, error) {
	body := struct {
		Ciphertext []byte `json:"ciphertext"`
		Context    []byte `json:"context,omitempty"`
		Version    string `json:"version,omitempty"`
	}{ciphertext, context, "v1"}
	var answer struct {
		Plaintext []byte `json:"plaintext"`
	}
	err := c.call(http.MethodPost, route("/v1/key/decrypt", name), body, &answer, mib)
	return answer.Plaintext, err
}

func (c *client) hmac(name string, message []byte) ([]byte, error) {
	body := struct {
		Message []byte `json:"message"`
	}{message}
	var answer struct {
		HMAC []byte `json:"hmac"`
	}
	err := c.call(http.MethodPut, route("/v1/key/hmac", name), body, &answer, hmacLimit)
	return answer.HMAC, err
}

// list asks for a page; "*" and "" mean everything and are not sent.
func (c *client) list(api, pattern string, page any) error {
	if pattern == "*" {
		pattern = ""
	}
	response, err := c.send(http.MethodGet, route(api, pattern), nil, "")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.Header.Get("Content-Type") == "application/x-ndjson" {
		return errors.New("a list in the legacy format")
	}
	return json.NewDecoder(io.LimitReader(response.Body, mib)).Decode(page)
}

type namePage struct {
	Names      []string `json:"names"`
	ContinueAt string   `json:"continue_at"`
}

// listAll follows pages as the iterator does: what to continue at becomes the next prefix.
func (c *client) listAll(api, pattern string) ([]string, error) {
	var names []string
	for {
		var page namePage
		if err := c.list(api, pattern, &page); err != nil {
			return nil, err
		}
		names = append(names, page.Names...)
		if len(page.Names) == 0 || page.ContinueAt == "" {
			return names, nil
		}
		pattern = page.ContinueAt
	}
}
