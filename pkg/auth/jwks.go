package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"workflow.uniconnect/pkg/fault"
)

const (
	// keysFresh is how long a key that the issuer has withdrawn may still be accepted while the issuer answers.
	keysFresh = 10 * time.Minute
	// keysStale is how long the last good keys serve while the issuer is away.
	keysStale = 24 * time.Hour
	// fetchEvery bounds what a flood of invented key ids, or an issuer that is away, can cost.
	fetchEvery   = 30 * time.Second
	fetchTimeout = 2 * time.Second
	maxJWKS      = 1 << 20
	minRSABits   = 2048
)

// keySet holds an issuer's keys. It is ours, in place of the library's, because that one asks the issuer again for every token with a
// bad signature and keeps withdrawn keys for as long as no unknown one appears.
type keySet struct {
	url    string
	client *http.Client

	// fetching is held during a fetch, so that there is one at a time.
	fetching sync.Mutex

	mu      sync.Mutex
	keys    map[string]publicKey
	fetched time.Time // the last success
	tried   time.Time // the last attempt
	err     error     // of the last attempt
}

type publicKey struct {
	alg string
	key crypto.PublicKey
}

// discoverKeys asks the issuer where its keys are, and gets them.
func discoverKeys(ctx context.Context, cfg Config) (*keySet, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, cfg.client()), cfg.Issuer)
	if err != nil {
		return nil, fmt.Errorf("discover issuer: %w", err)
	}
	var doc struct {
		JWKSURI string `json:"jwks_uri"`
	}
	if err := provider.Claims(&doc); err != nil {
		return nil, fmt.Errorf("discover issuer: %w", err)
	}
	k := &keySet{url: doc.JWKSURI, client: cfg.client()}
	k.fetching.Lock()
	k.fetch(ctx)
	if k.err != nil {
		return nil, fmt.Errorf("get the issuer's keys: %w", k.err)
	}
	return k, nil
}

func (k *keySet) key(ctx context.Context, kid, alg string) (crypto.PublicKey, error) {
	found, age, _ := k.find(kid, alg)
	switch {
	case found != nil && age < keysFresh:
		return found, nil
	case found != nil:
		// An old key serves on while another call fetches.
		if k.fetching.TryLock() {
			k.fetch(ctx)
		}
	default:
		k.fetching.Lock()
		k.fetch(ctx)
	}
	found, age, err := k.find(kid, alg)
	switch {
	case found != nil && age < keysStale:
		return found, nil
	case err != nil:
		return nil, fault.Unavailable(fault.ReasonServiceUnavailable, "tokens cannot be verified now").WithCause(err)
	}
	return nil, errors.New("key id is not known")
}

// find returns the key, how old the set is, and the error of the last attempt to renew it.
func (k *keySet) find(kid, alg string) (crypto.PublicKey, time.Duration, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	age := time.Since(k.fetched)
	found, ok := k.keys[kid]
	if !ok && kid == "" && len(k.keys) == 1 {
		for _, only := range k.keys {
			found, ok = only, true
		}
	}
	if !ok || found.alg != alg {
		return nil, age, k.err
	}
	return found.key, age, k.err
}

// fetch renews the set, unless that was tried just now. The caller holds fetching, which fetch gives back.
func (k *keySet) fetch(ctx context.Context) {
	defer k.fetching.Unlock()
	k.mu.Lock()
	recent := !k.tried.IsZero() && time.Since(k.tried) < fetchEvery
	k.mu.Unlock()
	if recent {
		return
	}
	// The keys are for every call, so the fetch does not end with the call that began it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	keys, err := k.get(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tried, k.err = time.Now(), err
	if err == nil {
		k.keys, k.fetched = keys, k.tried
	}
}

func (k *keySet) get(ctx context.Context) (map[string]publicKey, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	var doc struct {
		Keys []jwk `json:"keys"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxJWKS)).Decode(&doc); err != nil {
		return nil, fmt.Errorf("decode keys: %w", err)
	}
	keys := make(map[string]publicKey, len(doc.Keys))
	for _, j := range doc.Keys {
		// A set may hold keys for other uses; one that we cannot use is as good as absent.
		if key, err := j.public(); err == nil {
			keys[j.ID] = key
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the set holds no key that can verify")
	}
	return keys, nil
}

// jwk is a public key as RFC 7517 writes it.
type jwk struct {
	ID    string `json:"kid"`
	Type  string `json:"kty"`
	Use   string `json:"use"`
	Alg   string `json:"alg"`
	Curve string `json:"crv"`
	N     string `json:"n"`
	E     string `json:"e"`
	X     string `json:"x"`
	Y     string `json:"y"`
}

// public returns the key and the one algorithm it is good for.
func (j *jwk) public() (publicKey, error) {
	if j.Use != "" && j.Use != "sig" {
		return publicKey{}, fmt.Errorf("use %q", j.Use)
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
	if key.N.BitLen() < minRSABits || len(e) > 4 || key.E < 3 {
		return nil, errors.New("weak RSA key")
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
