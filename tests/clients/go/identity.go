package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// credential is an API key, ready to be shown.
type credential struct {
	identity    string
	certificate tls.Certificate
}

// newCredential makes the certificate that MinIO makes from an API key when it starts: Ed25519,
// self-signed, named after the identity, valid for 90 days.
func newCredential(apiKey string) (credential, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(apiKey, "kes:v1:"))
	if err != nil {
		return credential{}, fmt.Errorf("API key: %w", err)
	}
	if len(raw) != 1+ed25519.SeedSize || raw[0] != 0 {
		return credential{}, errors.New("API key: not an Ed25519 seed")
	}
	private := ed25519.NewKeyFromSeed(raw[1:])
	public, ok := private.Public().(ed25519.PublicKey)
	if !ok {
		return credential{}, errors.New("API key: not an Ed25519 key")
	}
	info, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return credential{}, err
	}
	sum := sha256.Sum256(info)
	identity := hex.EncodeToString(sum[:])
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return credential{}, err
	}
	now := time.Now()
	template := x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: identity},
		NotBefore:             now,
		NotAfter:              now.Add(90 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, public, private)
	if err != nil {
		return credential{}, err
	}
	certificate := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
	return credential{identity, certificate}, nil
}
