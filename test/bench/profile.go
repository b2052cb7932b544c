//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"workflow.uniconnect/test/stack"
)

const (
	// profileSeconds is how long a profile is, profileRounds the size of the extra round, which should last longer.
	profileSeconds = 5
	profileRounds  = 4
)

// profile makes an extra round, of which each service process gives a CPU profile. It comes last because taking it costs time itself.
func (b *bench) profile(ctx context.Context) error {
	if b.cfg.ProfileDir == "" {
		return nil
	}
	if err := os.MkdirAll(b.cfg.ProfileDir, 0o750); err != nil {
		return err
	}
	services := b.stack.Services()
	errs := make([]error, len(services))
	var wg sync.WaitGroup
	for i, p := range services {
		wg.Go(func() { errs[i] = fetchProfile(ctx, p, filepath.Join(b.cfg.ProfileDir, p.Name()+".pprof")) })
	}
	_, err := b.round(ctx, b.ours, profileRounds*b.cfg.Runs)
	wg.Wait()
	return errors.Join(append(errs, err)...)
}

func fetchProfile(ctx context.Context, p *stack.Process, file string) error {
	url := fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", p.AdminURL(), profileSeconds)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s has no profile: status %d", p.Name(), res.StatusCode)
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, res.Body)
	return errors.Join(err, out.Close())
}
