// Package catalogindex measures how fast trigger-scheduler knows the workflows of a running system: how long its index takes to be there
// after a start, and how long after the answer of a change the first event obeys it.
package catalogindex

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"workflow.uniconnect/test/stack"
)

// Config says what to measure.
type Config struct {
	// EventType is that of the workflows, so that the changed one shares its place in the index with them.
	EventType string
	// Active is how many active workflows the index must hold at least.
	Active int
	// Rounds is how often each change is made.
	Rounds int
}

// Figures are what was measured.
type Figures struct {
	// Workflows is how many the index holds.
	Workflows int
	// Restart is from the start of the process until it is ready, which it is only with a complete index. Rebuild is the part in which the
	// definitions are read and the index is made.
	Restart, Rebuild time.Duration
	// Activated and Updated are from the answer of the call until the workflow's step is seen for an event that was published right then;
	// Undisturbed is the same for an event without a change before it.
	Activated, Updated, Undisturbed []time.Duration
	// Deactivated is how long after the answer of the call an event that still started was published; zero when none did.
	Deactivated []time.Duration
}

// To reach.
const (
	MaxRebuild = time.Second
	MaxChange  = 100 * time.Millisecond
)

// Summary is one line.
func (f *Figures) Summary() string {
	return fmt.Sprintf("index of %d workflows: rebuilt in %v (process ready in %v); change → first event: activate %v, update %v, deactivate %v (no change: %v)",
		f.Workflows, f.Rebuild.Round(time.Millisecond), f.Restart.Round(time.Millisecond), worst(f.Activated), worst(f.Updated), worst(f.Deactivated), worst(f.Undisturbed))
}

func worst(all []time.Duration) string {
	if len(all) == 0 {
		return "-"
	}
	sorted := slices.Sorted(slices.Values(all))
	return fmt.Sprintf("%v (worst %v)", sorted[len(sorted)/2].Round(100*time.Microsecond), sorted[len(sorted)-1].Round(100*time.Microsecond))
}

// Measure restarts the trigger-scheduler, and then changes a workflow of its own while the others stay.
func Measure(ctx context.Context, s *stack.Stack, client *stack.Client, cfg Config) (*Figures, error) {
	f := &Figures{}
	if err := restart(ctx, s, cfg.Active, f); err != nil {
		return nil, err
	}
	conn, err := nats.Connect(s.NATSURL)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	p := &probe{stack: s, client: client, js: js, eventType: cfg.EventType, name: strings.ToLower(rand.Text()[:12])}
	if err := p.create(ctx); err != nil {
		return nil, err
	}
	for range cfg.Rounds {
		if err := p.round(ctx, f); err != nil {
			return nil, errors.Join(err, p.remove(ctx))
		}
	}
	return f, p.remove(ctx)
}

// probe is the workflow that is changed. It and its witness, which is always active, post to sinks of the sandbox.
type probe struct {
	stack              *stack.Stack
	client             *stack.Client
	js                 jetstream.JetStream
	eventType, name    string
	workflow, witness  string
	published, changes int
}

type object = map[string]any

func (p *probe) own() string { return p.name + "-own" }

func (p *probe) seen() string { return p.name + "-seen" }

func (p *probe) create(ctx context.Context) (err error) {
	if p.workflow, err = p.save(ctx, p.own(), p.filter()); err != nil {
		return err
	}
	p.witness, err = p.save(ctx, p.seen(), fmt.Sprintf("event.data.queue.startsWith(%q)", p.name))
	return err
}

// filter changes with each round.
func (p *probe) filter() string { return fmt.Sprintf("event.data.queue == %q", p.queue()) }

func (p *probe) queue() string { return fmt.Sprintf("%s-%d", p.name, p.changes) }

func (p *probe) trigger(filter string) object {
	return object{"event": object{"eventType": p.eventType, "filter": object{"expression": filter}}}
}

// save tries again while the catalog has not found the restarted process yet.
func (p *probe) save(ctx context.Context, sink, filter string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, awaitTimeout)
	defer cancel()
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		res, err := p.client.Do(ctx, http.MethodPost, "/v1/workflows", object{
			"title": "Bench " + sink, "trigger": p.trigger(filter), "steps": []object{{"id": "post", "action": object{
				"type": "http.request", "params": object{"method": "POST", "url": p.stack.SandboxURL + "/sink/" + sink, "body": object{"id": "${event.id}"}},
			}}},
		})
		switch {
		case err != nil:
			return "", err
		case res.Status == http.StatusOK:
			var saved struct{ ID string }
			err := res.Decode(&saved)
			return saved.ID, err
		case res.Status != http.StatusServiceUnavailable:
			return "", fmt.Errorf("save a workflow: status %d: %s", res.Status, res.Body)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return "", fmt.Errorf("save a workflow: %w", ctx.Err())
		}
	}
}

func (p *probe) remove(ctx context.Context) error {
	return errors.Join(
		p.client.Call(ctx, http.MethodDelete, "/v1/workflows/"+p.workflow, nil, nil), p.client.Call(ctx, http.MethodDelete, "/v1/workflows/"+p.witness, nil, nil),
	)
}

// round makes each change once.
func (p *probe) round(ctx context.Context, f *Figures) error {
	p.changes++
	update := func() error {
		return p.client.Call(ctx, http.MethodPatch, "/v1/workflows/"+p.workflow+"?updateMask=trigger", object{"trigger": p.trigger(p.filter())}, nil)
	}
	activate := func() error {
		return p.client.Call(ctx, http.MethodPost, "/v1/workflows/"+p.workflow+":activate", object{}, nil)
	}
	took, err := p.obeyed(ctx, update)
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	f.Updated = append(f.Updated, took)
	if took, err = p.obeyed(ctx, func() error { return nil }); err != nil {
		return err
	}
	f.Undisturbed = append(f.Undisturbed, took)
	if took, err = p.deactivated(ctx); err != nil {
		return fmt.Errorf("deactivate: %w", err)
	}
	f.Deactivated = append(f.Deactivated, took)
	if took, err = p.obeyed(ctx, activate); err != nil {
		return fmt.Errorf("activate: %w", err)
	}
	f.Activated = append(f.Activated, took)
	return nil
}

// obeyed returns how long after a change's answer the workflow's step came for an event that was published right after the answer.
func (p *probe) obeyed(ctx context.Context, change func() error) (time.Duration, error) {
	if err := change(); err != nil {
		return 0, err
	}
	answered := time.Now()
	id, err := p.publish(ctx)
	if err != nil {
		return 0, err
	}
	came, err := p.await(ctx, p.own(), id)
	return came.Sub(answered), err
}

const (
	// afterwards is how long events are published after a deactivation, one every pace.
	afterwards = 300 * time.Millisecond
	pace       = time.Millisecond
)

// deactivated returns how long after the deactivation's answer the last event that still started was published.
func (p *probe) deactivated(ctx context.Context) (time.Duration, error) {
	if err := p.client.Call(ctx, http.MethodPost, "/v1/workflows/"+p.workflow+":deactivate", object{}, nil); err != nil {
		return 0, err
	}
	answered := time.Now()
	published := make(map[string]time.Duration)
	var last string
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for time.Since(answered) < afterwards {
		at := time.Since(answered)
		id, err := p.publish(ctx)
		if err != nil {
			return 0, err
		}
		published[id], last = at, id
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	// What an event starts is accepted at once for all workflows, so the witness's step tells that the event has started whatever it does.
	if _, err := p.await(ctx, p.seen(), last); err != nil {
		return 0, err
	}
	started, err := p.started(ctx)
	var latest time.Duration
	for _, id := range started {
		latest = max(latest, published[id])
	}
	return latest, err
}

// started returns the ids of the events of the workflow's latest runs.
func (p *probe) started(ctx context.Context) ([]string, error) {
	var list struct {
		Executions []struct {
			Cause struct{ Event struct{ ID string } }
		}
	}
	err := p.client.Call(ctx, http.MethodGet, "/v1/workflows/"+p.workflow+"/executions?pageSize=200", nil, &list)
	ids := make([]string, len(list.Executions))
	for i, e := range list.Executions {
		ids[i] = e.Cause.Event.ID
	}
	return ids, err
}

// publish puts an event on the bus that the workflow's filter wants, and returns its id.
func (p *probe) publish(ctx context.Context) (string, error) {
	p.published++
	id := fmt.Sprintf("%s-%d", p.name, p.published)
	msg := nats.NewMsg("uniconnect.events.acme." + p.eventType)
	msg.Header.Set("ce-id", id)
	msg.Header.Set("ce-source", "/bench")
	msg.Data = fmt.Appendf(nil, `{"queue":%q,"call_id":%q}`, p.queue(), id)
	_, err := p.js.PublishMsg(ctx, msg)
	return id, err
}
