package session

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"workflow.uniconnect/pkg/fault"
)

const (
	// recentAge is how long calls that still come with the cookie before the last one get its successor. A page sends several calls at
	// once, and a refresh token is good for one of them.
	recentAge = time.Minute
	maxRecent = 10_000
)

type tokenHash [sha256.Size]byte

// renewer renews each session once, however many of its calls come together.
type renewer struct {
	flight singleflight.Group

	mu     sync.Mutex
	recent map[tokenHash]renewal
}

type renewal struct {
	state state
	at    time.Time
}

// renew returns the session with a new token. While the issuer is away the old one serves to its end.
func (s *Sessions) renew(ctx context.Context, st state) (state, error) {
	good := time.Now().Before(time.Unix(st.Expires, 0))
	if st.Refresh == "" {
		if good {
			return st, nil
		}
		return state{}, errEnded
	}
	hash := tokenHash(sha256.Sum256([]byte(st.Refresh)))
	if renewed, ok := s.renewer.find(hash); ok {
		return renewed, nil
	}
	done := s.renewer.flight.DoChan(string(hash[:]), func() (any, error) {
		if renewed, ok := s.renewer.find(hash); ok {
			return renewed, nil
		}
		// It serves all calls of the session, so it does not end with the one that came first.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), issuerTimeout)
		defer cancel()
		renewed, err := s.askAnew(ctx, st)
		if err == nil {
			s.renewer.put(hash, renewed)
		}
		return renewed, err
	})
	select {
	case r := <-done:
		if r.Err == nil {
			return r.Val.(state), nil
		}
		if fault.KindOf(r.Err) == fault.KindUnavailable && good {
			return st, nil
		}
		return state{}, r.Err
	case <-ctx.Done():
		return state{}, ctx.Err()
	}
}

func (s *Sessions) askAnew(ctx context.Context, st state) (state, error) {
	d, err := s.issuer.describe(ctx)
	if err != nil {
		return state{}, err
	}
	token, err := d.config.TokenSource(s.issuer.context(ctx), &oauth2.Token{RefreshToken: st.Refresh}).Token()
	var answer *oauth2.RetrieveError
	switch {
	case errors.As(err, &answer) && answer.ErrorCode == "invalid_grant":
		return state{}, errEnded
	case err != nil:
		return state{}, away(err)
	}
	return newState(token, time.Unix(st.Until, 0)), nil
}

func (r *renewer) find(hash tokenHash) (state, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found, ok := r.recent[hash]
	return found.state, ok && time.Since(found.at) < recentAge
}

func (r *renewer) put(hash tokenHash, st state) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for old, found := range r.recent {
		if time.Since(found.at) >= recentAge || len(r.recent) >= maxRecent {
			delete(r.recent, old)
		}
	}
	r.recent[hash] = renewal{st, time.Now()}
}

// forget makes the calls that still come with a session that was ended find no successor.
func (r *renewer) forget(st state) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for hash, found := range r.recent {
		if found.state.Token == st.Token {
			delete(r.recent, hash)
		}
	}
}
