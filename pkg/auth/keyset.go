package auth

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"workflow.uniconnect/pkg/fault"
)

// How long a key that the issuer has withdrawn may still be accepted while the issuer answers is keysFresh + fetchEvery + cacheAge, which
// is 5 minutes.
const (
	// keysFresh is how long the keys serve before they are fetched again.
	keysFresh = 3*time.Minute + 30*time.Second
	// keysStale is how long the last good keys serve while the issuer is away.
	keysStale = 24 * time.Hour
	// fetchEvery bounds what a flood of invented key ids, or an issuer that is away, can cost.
	fetchEvery = 30 * time.Second
	// firstEvery is how often an issuer that was never reached is tried: nothing works until it answers.
	firstEvery   = 2 * time.Second
	fetchTimeout = 2 * time.Second
	maxJWKS      = 1 << 20
)

// keySet holds an issuer's keys. It is ours, in place of the library's, because that one asks the issuer again for every token with a
// bad signature and keeps withdrawn keys for as long as no unknown one appears.
type keySet struct {
	issuer string
	client *http.Client

	// turn holds one value for whoever may fetch, so that there is one fetch at a time; a channel, so that waiting ends with the context.
	turn chan struct{}
	// address is where the keys are, as the issuer said when it was last asked. Whoever has the turn may look at it.
	address string

	mu      sync.Mutex
	keys    map[keyID]crypto.PublicKey
	fetched time.Time // the last success
	tried   time.Time // the last attempt
	err     error     // of the last attempt
}

// keyID tells keys apart. A key id is only ever compared: it is no path and no address.
type keyID struct{ kid, alg string }

func newKeySet(cfg Config) *keySet {
	k := &keySet{issuer: cfg.Issuer, client: cfg.client(), turn: make(chan struct{}, 1)}
	k.turn <- struct{}{}
	return k
}

func (k *keySet) key(ctx context.Context, kid, alg string) (crypto.PublicKey, error) {
	found, age, _ := k.find(kid, alg)
	if found != nil && age < keysFresh {
		return found, nil
	}
	if found != nil && age < keysStale {
		// An old key serves on while another call fetches.
		select {
		case <-k.turn:
			k.fetch(ctx)
		default:
		}
	} else {
		select {
		case <-k.turn:
			k.fetch(ctx)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	found, age, err := k.find(kid, alg)
	switch {
	case found != nil && age < keysStale:
		return found, nil
	case err != nil:
		return nil, unavailable(err)
	}
	return nil, errors.New("key id is not known")
}

// ready returns why there are no keys to verify with. It tries to get them, which is how a process that started before its issuer comes
// up in the end.
func (k *keySet) ready(ctx context.Context) error {
	if k.usable() {
		return nil
	}
	select {
	case <-k.turn:
		k.fetch(ctx)
	default: // another call fetches
	}
	if k.usable() {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return unavailable(k.err)
}

func (k *keySet) usable() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.keys) > 0 && time.Since(k.fetched) < keysStale
}

func unavailable(cause error) error {
	return fault.Unavailable(fault.ReasonServiceUnavailable, "tokens cannot be verified now: the issuer's keys are not known").WithCause(cause)
}

// find returns the key, how old the set is, and the error of the last attempt to renew it.
func (k *keySet) find(kid, alg string) (crypto.PublicKey, time.Duration, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	age := time.Since(k.fetched)
	if found, ok := k.keys[keyID{kid, alg}]; ok {
		return found, age, k.err
	}
	if kid == "" && len(k.keys) == 1 {
		for id, only := range k.keys {
			if id.alg == alg {
				return only, age, k.err
			}
		}
	}
	return nil, age, k.err
}

// fetch renews the set, unless that was tried just now. The caller has the turn, which fetch gives back.
func (k *keySet) fetch(ctx context.Context) {
	defer func() { k.turn <- struct{}{} }()
	if k.triedJustNow() {
		return
	}
	// The keys are for every call, so the fetch does not end with the call that began it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	keys, err := k.get(ctx)
	if err != nil {
		k.address = "" // the issuer may have moved them
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tried, k.err = time.Now(), err
	if err == nil {
		k.keys, k.fetched = keys, k.tried
	}
}

func (k *keySet) triedJustNow() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	every := fetchEvery
	if k.fetched.IsZero() {
		every = firstEvery
	}
	return !k.tried.IsZero() && time.Since(k.tried) < every
}

func (k *keySet) get(ctx context.Context) (map[keyID]crypto.PublicKey, error) {
	if k.address == "" {
		address, err := k.discover(ctx)
		if err != nil {
			return nil, err
		}
		k.address = address
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.address, nil)
	if err != nil {
		return nil, fmt.Errorf("get the issuer's keys: %w", err)
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("get the issuer's keys: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get the issuer's keys: status %d", resp.StatusCode)
	}
	return decodeKeys(io.LimitReader(resp.Body, maxJWKS))
}

// discover asks the issuer where its keys are.
func (k *keySet) discover(ctx context.Context) (string, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, k.client), k.issuer)
	if err != nil {
		return "", fmt.Errorf("discover issuer: %w", err)
	}
	var doc struct {
		JWKSURI string `json:"jwks_uri"`
	}
	if err := provider.Claims(&doc); err != nil {
		return "", fmt.Errorf("discover issuer: %w", err)
	}
	from, fromErr := url.Parse(k.issuer)
	to, toErr := url.Parse(doc.JWKSURI)
	if err := errors.Join(fromErr, toErr); err != nil {
		return "", fmt.Errorf("discover issuer: %w", err)
	}
	if to.Scheme != from.Scheme && to.Scheme != "https" {
		return "", errors.New("discover issuer: its keys are at an address that is not secured")
	}
	return doc.JWKSURI, nil
}

// decodeKeys reads a key set. It may hold keys for other uses; one that we cannot use is as good as absent.
func decodeKeys(r io.Reader) (map[keyID]crypto.PublicKey, error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.NewDecoder(r).Decode(&doc); err != nil {
		return nil, fmt.Errorf("decode the issuer's keys: %w", err)
	}
	keys := make(map[keyID]crypto.PublicKey, len(doc.Keys))
	for _, text := range doc.Keys {
		var j jwk
		if err := json.Unmarshal(text, &j); err != nil {
			continue
		}
		if key, err := j.public(); err == nil {
			keys[keyID{j.ID, key.alg}] = key.key
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the issuer's key set holds no key that can verify")
	}
	return keys, nil
}
