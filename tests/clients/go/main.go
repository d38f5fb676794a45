// Command kes-client is a client of a key server on another TLS and HTTP stack than the server's.
// It behaves like the client in MinIO: certificates from API keys, bodies without length,
// strict decoding, errors compared by status and message.
//
//	KES_API_KEY=kes:v1:… go run . -endpoint URL -ca FILE [-proto h1|h2] [-tls 1.2|1.3] suite
//	KES_API_KEY=kes:v1:… go run . -endpoint URL -ca FILE <check>…
//
// Each check runs over h1 and h2, TLS 1.2 and 1.3, by default. A line is printed per
// check; the exit code is 1 when one failed. The identity must be the admin; for `list-5000` the
// server has the keys my-key-0 to my-key-4999 and no others, for `error-log` a key `damaged` that
// cannot be read. For `encrypted-key` the same identity is in the files that MinIO's variables name:
// MINIO_KMS_KES_KEY_FILE, encrypted with MINIO_KMS_KES_KEY_PASSWORD, and MINIO_KMS_KES_CERT_FILE.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
)

// check is something that a client relies on.
type check struct {
	name string
	run  func(*fixture) error
	// alone is for checks that need a server prepared for them; not in the suite.
	alone bool
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run() error {
	endpoint := flag.String("endpoint", "https://127.0.0.1:7373", "the server")
	ca := flag.String("ca", "", "PEM file of its certificate")
	proto := flag.String("proto", "", "h1 or h2; both when empty")
	version := flag.String("tls", "", "1.2 or 1.3; both when empty")
	flag.Parse()

	who, err := newCredential(os.Getenv("KES_API_KEY"))
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(*ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s: no certificate", *ca)
	}
	chosen, err := choose(flag.Args())
	if err != nil {
		return err
	}
	failed := 0
	for _, w := range protocols(*proto, *version) {
		for _, check := range chosen {
			s := newFixture(newClient(*endpoint, roots, who, w), w, who)
			if err := check.run(s); err != nil {
				failed++
				fmt.Printf("FAIL %s %s: %v\n", w, check.name, err)
			} else {
				fmt.Printf("ok %s %s\n", w, check.name)
			}
			s.http.CloseIdleConnections()
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d checks failed", failed)
	}
	return nil
}

func protocols(proto, version string) []protocol {
	var ways []protocol
	for _, p := range []string{"h1", "h2"} {
		for name, v := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
			if (proto == "" || proto == p) && (version == "" || version == name) {
				ways = append(ways, protocol{p, v})
			}
		}
	}
	return ways
}

func choose(names []string) ([]check, error) {
	var chosen []check
	for _, c := range checks {
		if slices.Contains(names, c.name) || (slices.Contains(names, "suite") && !c.alone) {
			chosen = append(chosen, c)
		}
	}
	if len(chosen) < len(names) || len(chosen) == 0 {
		known := []string{"suite"}
		for _, c := range checks {
			known = append(known, c.name)
		}
		return nil, errors.New("name some of these checks: " + fmt.Sprint(known))
	}
	return chosen, nil
}
