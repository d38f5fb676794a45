package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// loadEncrypted reads a certificate and an encrypted private key as MinIO does: the decryption of
// PEM in Go's own library, deprecated and the only one that it has, then tls.X509KeyPair.
func loadEncrypted(keyFile, certFile, password string) (tls.Certificate, error) {
	certificate, err := os.ReadFile(certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	block, rest := pem.Decode(key)
	if block == nil || len(rest) > 0 {
		return tls.Certificate{}, errors.New("not one section of PEM")
	}
	if !x509.IsEncryptedPEMBlock(block) {
		return tls.Certificate{}, errors.New("the private key is not encrypted")
	}
	der, err := x509.DecryptPEMBlock(block, []byte(password))
	if err != nil {
		return tls.Certificate{}, err
	}
	plain := pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der})
	return tls.X509KeyPair(certificate, plain)
}

// encryptedKey calls the server with what an encrypted key file holds.
func encryptedKey(s *fixture) error {
	keyFile, certFile := os.Getenv("MINIO_KMS_KES_KEY_FILE"), os.Getenv("MINIO_KMS_KES_CERT_FILE")
	password := os.Getenv("MINIO_KMS_KES_KEY_PASSWORD")
	if _, err := loadEncrypted(keyFile, certFile, password+"x"); err == nil {
		return errors.New("a wrong password decrypts the private key")
	}
	certificate, err := loadEncrypted(keyFile, certFile, password)
	if err != nil {
		return err
	}
	who := credential{s.who.identity, certificate}
	c := newClient(s.endpoint, s.roots, who, s.protocol)
	defer c.http.CloseIdleConnections()
	var answer struct {
		Identity string `json:"identity"`
	}
	if err := c.get("/v1/identity/self/describe", &answer, mib); err != nil {
		return err
	}
	if answer.Identity != who.identity {
		return fmt.Errorf("the file holds %s, not %s", answer.Identity, who.identity)
	}
	return self(newFixture(c, s.protocol, who))
}
