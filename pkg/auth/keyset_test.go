package auth_test

import (
	"crypto/rsa"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
)

func TestVerifier_rotation_and_outage(t *testing.T) {
	oldKey, _ := newKeys(t)
	newKey, _ := newKeys(t)
	synctest.Test(t, func(t *testing.T) {
		p := &provider{keys: []map[string]string{rsaJWK("old", &oldKey.PublicKey)}}
		v, err := auth.NewVerifier(t.Context(), p.config())
		if err != nil {
			t.Fatal(err)
		}
		verify := func(kid string, key *rsa.PrivateKey, n int) fault.Kind {
			claims := oidcClaims()
			claims["jti"] = fmt.Sprint(n) // a token of its own: not from memory
			_, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodRS256, map[string]any{"kid": kid}, claims, key))
			return fault.KindOf(err)
		}
		expect := func(what string, got, want fault.Kind) {
			t.Helper()
			if got != want {
				t.Errorf("%s: got %v, want %v", what, got, want)
			}
		}

		expect("old key", verify("old", oldKey, 1), fault.KindNone)
		before := p.keyFetches()
		<-time.After(31 * time.Second)
		for i := range 500 {
			expect("invented key id", verify(fmt.Sprintf("x%d", i), newKey, 2), fault.KindUnauthenticated)
			expect("bad signature", verify("old", newKey, 10+i), fault.KindUnauthenticated)
		}
		if got := p.keyFetches() - before; got > 1 {
			t.Errorf("a flood of bad tokens cost %d fetches, want at most 1", got)
		}

		p.set(func(p *provider) { p.keys = []map[string]string{rsaJWK("new", &newKey.PublicKey)} })
		<-time.After(31 * time.Second)
		expect("rotated in", verify("new", newKey, 3), fault.KindNone)
		expect("rotated out", verify("old", oldKey, 4), fault.KindUnauthenticated)

		p.set(func(p *provider) { p.down = true })
		<-time.After(23 * time.Hour)
		expect("issuer away for 23 h", verify("new", newKey, 5), fault.KindNone)
		expect("unknown key while the issuer is away", verify("old", oldKey, 6), fault.KindUnavailable)
		<-time.After(2 * time.Hour)
		expect("issuer away for 25 h", verify("new", newKey, 7), fault.KindUnavailable)
		p.set(func(p *provider) { p.down = false })
		<-time.After(31 * time.Second)
		expect("issuer back", verify("new", newKey, 8), fault.KindNone)
	})
}

// signer makes tokens of its own for every call, so that none is known from memory.
type signer struct {
	kid string
	key *rsa.PrivateKey
	n   int
}

func (s *signer) token(t *testing.T) string {
	t.Helper()
	s.n++
	claims := oidcClaims()
	claims["jti"] = fmt.Sprint(s.n)
	return sign(t, jwt.SigningMethodRS256, map[string]any{"kid": s.kid}, claims, s.key)
}

// A withdrawn key is honoured for at most five minutes while the issuer answers, whoever asks and whenever.
func TestVerifier_withdrawn_key(t *testing.T) {
	oldKey, _ := newKeys(t)
	newKey, _ := newKeys(t)
	synctest.Test(t, func(t *testing.T) {
		p := &provider{keys: []map[string]string{rsaJWK("old", &oldKey.PublicKey)}}
		v, err := auth.NewVerifier(t.Context(), p.config())
		if err != nil {
			t.Fatal(err)
		}
		old := &signer{kid: "old", key: oldKey}
		kept := old.token(t)
		if _, err := v.Verify(t.Context(), kept); err != nil {
			t.Fatal(err)
		}
		p.set(func(p *provider) { p.keys = []map[string]string{rsaJWK("new", &newKey.PublicKey)} })
		withdrawn := time.Now()
		var last time.Duration
		for time.Since(withdrawn) < 10*time.Minute {
			if _, err := v.Verify(t.Context(), old.token(t)); err == nil {
				last = time.Since(withdrawn)
			}
			if _, err := v.Verify(t.Context(), kept); err == nil {
				last = time.Since(withdrawn)
			}
			<-time.After(5 * time.Second)
		}
		if last == 0 || last > 5*time.Minute {
			t.Errorf("the withdrawn key was honoured for %v, want some time and at most 5m", last)
		}
	})
}

func TestVerifier_one_fetch_for_many_calls(t *testing.T) {
	key, _ := newKeys(t)
	synctest.Test(t, func(t *testing.T) {
		p := &provider{keys: []map[string]string{rsaJWK("k", &key.PublicKey)}, during: func() { <-time.After(time.Second) }}
		v, err := auth.NewVerifier(t.Context(), p.config())
		if err != nil {
			t.Fatal(err)
		}
		s := &signer{kid: "k", key: key}
		var wg sync.WaitGroup
		for range 50 {
			token := s.token(t)
			wg.Go(func() {
				if _, err := v.Verify(t.Context(), token); err != nil {
					t.Errorf("while the keys are fetched for the first time: %v", err)
				}
			})
		}
		wg.Wait()
		if got := p.keyFetches(); got != 1 {
			t.Errorf("50 calls cost %d fetches, want 1", got)
		}
		// Known keys serve on while they are fetched again, and nobody waits.
		<-time.After(4 * time.Minute)
		begin := time.Now()
		first := s.token(t)
		wg.Go(func() { _, _ = v.Verify(t.Context(), first) })
		synctest.Wait()
		if _, err := v.Verify(t.Context(), s.token(t)); err != nil || time.Since(begin) > 0 {
			t.Errorf("during a fetch: got %v after %v, want an answer at once", err, time.Since(begin))
		}
		wg.Wait()
	})
}

// A process may start before its issuer: it is not ready, and comes up by itself.
func TestVerifier_issuer_away_at_the_start(t *testing.T) {
	key, _ := newKeys(t)
	synctest.Test(t, func(t *testing.T) {
		p := &provider{keys: []map[string]string{rsaJWK("k", &key.PublicKey)}, down: true}
		v, err := auth.NewVerifier(t.Context(), p.config())
		if err != nil {
			t.Fatalf("the start fails: %v", err)
		}
		s := &signer{kid: "k", key: key}
		if err := v.Ready(t.Context()); fault.KindOf(err) != fault.KindUnavailable {
			t.Errorf("ready: got %v, want UNAVAILABLE", err)
		}
		if _, err := v.Verify(t.Context(), s.token(t)); fault.KindOf(err) != fault.KindUnavailable {
			t.Errorf("a call: got %v, want UNAVAILABLE", err)
		}
		p.set(func(p *provider) { p.down = false })
		<-time.After(3 * time.Second)
		if err := v.Ready(t.Context()); err != nil {
			t.Errorf("3 s after the issuer came: %v", err)
		}
		if _, err := v.Verify(t.Context(), s.token(t)); err != nil {
			t.Errorf("a call then: %v", err)
		}
	})
}

// What the issuer answers is not trusted further than its own document goes.
func TestVerifier_issuer_misbehaves(t *testing.T) {
	key, _ := newKeys(t)
	good := []map[string]string{rsaJWK("k", &key.PublicKey)}
	for name, p := range map[string]*provider{
		"keys_in_the_clear":     {keys: good, keysAt: "http://id.test/realm/keys"},
		"keys_nowhere":          {keys: good, keysAt: "https://id.test/other"},
		"no_key_that_can_serve": {keys: []map[string]string{{"kty": "oct", "k": "AAAA"}}},
		"server_error":          {keys: good, status: http.StatusInternalServerError},
		"redirect":              {keys: good, status: http.StatusFound},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := auth.NewVerifier(t.Context(), p.config())
			if err != nil {
				t.Fatal(err)
			}
			s := &signer{kid: "k", key: key}
			if _, err := v.Verify(t.Context(), s.token(t)); fault.KindOf(err) != fault.KindUnavailable {
				t.Errorf("got %v, want UNAVAILABLE", err)
			}
			if err := v.Ready(t.Context()); fault.KindOf(err) != fault.KindUnavailable {
				t.Errorf("ready: got %v, want UNAVAILABLE", err)
			}
		})
	}
}
