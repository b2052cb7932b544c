package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

const (
	minRSABits = 2048
	maxRSABits = 8192
)

// algorithms are those that a token may be signed with: one for each type of key.
func algorithms() []string { return []string{"RS256", "ES256", "EdDSA"} }

// publicKey is a key with the one algorithm it is good for.
type publicKey struct {
	alg string
	key crypto.PublicKey
}

// jwk is a public key as RFC 7517 writes it.
type jwk struct {
	ID    string   `json:"kid"`
	Type  string   `json:"kty"`
	Use   string   `json:"use"`
	Ops   []string `json:"key_ops"`
	Alg   string   `json:"alg"`
	Curve string   `json:"crv"`
	N     string   `json:"n"`
	E     string   `json:"e"`
	X     string   `json:"x"`
	Y     string   `json:"y"`
}

// public returns the key and the one algorithm it is good for.
func (j *jwk) public() (publicKey, error) {
	if j.Use != "" && j.Use != "sig" || len(j.Ops) > 0 && !slices.Contains(j.Ops, "verify") {
		return publicKey{}, fmt.Errorf("use %q %q", j.Use, j.Ops)
	}
	var out publicKey
	var err error
	switch {
	case j.Type == "RSA":
		out.alg = "RS256"
		out.key, err = j.rsa()
	case j.Type == "EC" && j.Curve == "P-256":
		out.alg = "ES256"
		out.key, err = j.ecdsa()
	case j.Type == "OKP" && j.Curve == "Ed25519":
		out.alg = "EdDSA"
		out.key, err = j.ed25519()
	default:
		err = fmt.Errorf("key type %q %q", j.Type, j.Curve)
	}
	if err == nil && j.Alg != "" && j.Alg != out.alg {
		err = fmt.Errorf("algorithm %q", j.Alg)
	}
	return out, err
}

func (j *jwk) rsa() (*rsa.PublicKey, error) {
	n, errN := base64.RawURLEncoding.DecodeString(j.N)
	e, errE := base64.RawURLEncoding.DecodeString(j.E)
	if err := errors.Join(errN, errE); err != nil {
		return nil, err
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits || len(e) > 4 || key.E < 3 || key.E%2 == 0 {
		return nil, errors.New("RSA key of a size or exponent that is not accepted")
	}
	return key, nil
}

func (j *jwk) ecdsa() (*ecdsa.PublicKey, error) {
	x, errX := base64.RawURLEncoding.DecodeString(j.X)
	y, errY := base64.RawURLEncoding.DecodeString(j.Y)
	if err := errors.Join(errX, errY); err != nil {
		return nil, err
	}
	// This checks that the point is on the curve.
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
}

func (j *jwk) ed25519() (ed25519.PublicKey, error) {
	x, err := base64.RawURLEncoding.DecodeString(j.X)
	if err != nil {
		return nil, err
	}
	if len(x) != ed25519.PublicKeySize {
		return nil, errors.New("wrong length")
	}
	return ed25519.PublicKey(x), nil
}
