package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// What the development issuer writes into its tokens.
const (
	DevIssuer   = "uniconnect-development"
	DevAudience = "uniconnect-workflow"
	devKeyFile  = "dev-issuer.pem"
)

// Issuer signs tokens in development. Outside it does not exist: NewVerifier accepts its tokens only with Config.Dev.
type Issuer struct {
	private *ecdsa.PrivateKey
	kid     string
}

// OpenIssuer returns the issuer of a data directory and makes its key when there is none. Processes that start together in a new
// directory get the same key.
func OpenIssuer(dataDir string) (*Issuer, error) {
	path := filepath.Join(dataDir, devKeyFile)
	issuer, err := readIssuer(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeKey(path); err != nil {
			return nil, fmt.Errorf("make development key: %w", err)
		}
		issuer, err = readIssuer(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read development key: %w", err)
	}
	return issuer, nil
}

// FindIssuer returns the issuer of a data directory that a system in development mode has made before.
func FindIssuer(dataDir string) (*Issuer, error) {
	issuer, err := readIssuer(filepath.Join(dataDir, devKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no system has run in development mode with the data directory %s", dataDir)
	}
	if err != nil {
		return nil, fmt.Errorf("read development key: %w", err)
	}
	return issuer, nil
}

// Issue returns a token for p.
func (i *Issuer) Issue(p Principal, ttl time.Duration) (string, error) {
	if err := p.check(); err != nil {
		return "", fmt.Errorf("issue token: %w", err)
	}
	now := time.Now()
	c := claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: DevIssuer, Audience: jwt.ClaimStrings{DevAudience}, Subject: p.Subject,
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(ttl)),
		},
		Tenant: p.Tenant, Roles: p.Roles, Email: p.Email,
	}
	if p.Kind != User {
		c.Kind = p.Kind.String()
	}
	t := jwt.NewWithClaims(jwt.SigningMethodES256, &c)
	t.Header["kid"], t.Header["typ"] = i.kid, "at+jwt"
	signed, err := t.SignedString(i.private)
	if err != nil {
		return "", fmt.Errorf("issue token: %w", err)
	}
	return signed, nil
}

func (i *Issuer) public() keySource { return &fixedKey{kid: i.kid, public: &i.private.PublicKey} }

// fixedKey is the one key of the development issuer.
type fixedKey struct {
	kid    string
	public crypto.PublicKey
}

func (k *fixedKey) key(_ context.Context, kid, _ string) (crypto.PublicKey, error) {
	if kid != k.kid {
		return nil, errors.New("key id is not known")
	}
	return k.public, nil
}

// ready has nothing to wait for.
func (k *fixedKey) ready(context.Context) error { return nil }

func readIssuer(path string) (*Issuer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s may be read by others: its mode is %v, not 0600", path, info.Mode().Perm())
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, fmt.Errorf("%s is not PEM", path)
	}
	private, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	sum := sha256.Sum256(public)
	return &Issuer{private: private, kid: hex.EncodeToString(sum[:8])}, nil
}

// makeKey writes a whole key under another name and links it into place: a link fails when the name exists, so the first process
// wins and nobody ever reads half a key.
func makeKey(path string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		return err
	}
	// The directory may hold what other users must reach, such as the private database; the file is what is secret.
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // see above
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), devKeyFile+".*") // made with mode 0600
	if err != nil {
		return err
	}
	err = errors.Join(
		pem.Encode(tmp, &pem.Block{Type: "EC PRIVATE KEY", Bytes: der}),
		tmp.Sync(),
		tmp.Close(),
	)
	if err == nil {
		if err = os.Link(tmp.Name(), path); errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	return errors.Join(err, os.Remove(tmp.Name()))
}
