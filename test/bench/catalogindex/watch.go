package catalogindex

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"workflow.uniconnect/test/stack"
)

const (
	stopTimeout  = 30 * time.Second
	awaitTimeout = 30 * time.Second
	look         = 2 * time.Millisecond
)

// restart ends the trigger-scheduler as an update would, starts it and waits for the index.
func restart(ctx context.Context, s *stack.Stack, active int, f *Figures) error {
	p := s.Workflowd
	if p == nil {
		p = s.Schedulers[0]
	}
	if err := p.Stop(stopTimeout); err != nil {
		return err
	}
	begin := time.Now()
	if err := p.Restart(ctx); err != nil {
		return err
	}
	f.Restart = time.Since(begin)
	metrics, err := metricsOf(ctx, p)
	if err != nil {
		return err
	}
	f.Workflows, f.Rebuild = int(metrics["uc_scheduler_index_workflows"]), time.Duration(metrics["uc_scheduler_index_rebuild_seconds"]*float64(time.Second))
	if f.Workflows < active {
		return fmt.Errorf("%s is ready with %d workflows in its index, want %d", p.Name(), f.Workflows, active)
	}
	if f.Rebuild <= 0 {
		return fmt.Errorf("%s does not tell how long its index took", p.Name())
	}
	return nil
}

// metricsOf reads the process's metrics by name; of one with labels the last line counts.
func metricsOf(ctx context.Context, p *stack.Process) (map[string]float64, error) {
	body, err := get(ctx, p.AdminURL()+"/metrics")
	if err != nil {
		return nil, err
	}
	metrics := make(map[string]float64)
	lines := bufio.NewScanner(strings.NewReader(body))
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if at := strings.LastIndexByte(lines.Text(), ' '); at > 0 {
			value = lines.Text()[at+1:]
		}
		name, _, _ = strings.Cut(name, "{")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			metrics[name] = v
		}
	}
	return metrics, lines.Err()
}

// await returns when a sink of the sandbox noted the request for an event.
func (p *probe) await(ctx context.Context, sink, id string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, awaitTimeout)
	defer cancel()
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		came, err := p.noted(ctx, sink, id)
		if err != nil || !came.IsZero() {
			return came, err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("no request for event %s: %w", id, ctx.Err())
		}
	}
}

// noted returns the zero time when there is no such request yet.
func (p *probe) noted(ctx context.Context, sink, id string) (time.Time, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.stack.SandboxURL+"/sink/"+sink, http.NoBody)
	if err != nil {
		return time.Time{}, err
	}
	res, err := p.stack.ClientWithToken("").Send(req)
	if err != nil {
		return time.Time{}, err
	}
	var list struct {
		Requests []struct {
			JSON struct{ ID string }
			Time time.Time
		}
	}
	if err := res.Decode(&list); err != nil {
		return time.Time{}, err
	}
	for _, r := range list.Requests {
		if r.JSON.ID == id {
			return r.Time, nil
		}
	}
	return time.Time{}, nil
}

func get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(res.Body)
	return string(text), errors.Join(err, res.Body.Close())
}
