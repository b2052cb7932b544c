// Storagebench compares ways to store executions (docs/decisions/0001): it
// runs the executor's two statements, accept and finish, against each layout on
// a private PostgreSQL with full durability, and prints what they cost.
//
//	go run ./test/storagebench
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"time"

	"workflow.uniconnect/pkg/devpg"
)

// plan is the size of the comparison.
type plan struct {
	dir     string
	layouts string
	history int
	runs    int
	waiting int
	batch   int
	writers int
	rounds  int
	limit   time.Duration
}

func main() {
	var p plan
	flag.StringVar(&p.dir, "dir", "", "data directory; empty means a temporary one")
	flag.StringVar(&p.layouts, "layouts", "A,A100,A2,A2raw,B,Braw,C", "layouts to compare")
	flag.IntVar(&p.history, "history", 1_000_000, "finished executions stored before the first round")
	flag.IntVar(&p.runs, "runs", 100_000, "executions per round")
	flag.IntVar(&p.waiting, "waiting", 100_000, "claimable executions during the claim round")
	flag.IntVar(&p.batch, "batch", 256, "executions per statement")
	flag.IntVar(&p.writers, "writers", 3, "connections that write at once")
	flag.IntVar(&p.rounds, "rounds", 3, "rounds per layout; the median is printed")
	flag.DurationVar(&p.limit, "limit", 2*time.Minute, "longest time for one round")
	flag.Parse()

	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, p); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, p plan) (err error) {
	if p.dir == "" {
		if p.dir, err = os.MkdirTemp("", "storagebench-*"); err != nil {
			return err
		}
		defer os.RemoveAll(p.dir)
	}
	server, err := devpg.Start(ctx, devpg.Options{DataDir: p.dir})
	if err != nil {
		return err
	}
	defer func() {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if stopErr := server.Stop(stopCtx); err == nil {
			err = stopErr
		}
	}()
	benches, err := prepareAll(ctx, server, p)
	if err != nil {
		return err
	}
	return measureAll(ctx, benches, p)
}

func prepareAll(ctx context.Context, server *devpg.Server, p plan) ([]*bench, error) {
	var benches []*bench
	for _, name := range strings.Split(p.layouts, ",") {
		l, ok := layoutNamed(name)
		if !ok {
			return nil, fmt.Errorf("there is no layout %q", name)
		}
		b := &bench{layout: l, server: server, plan: p}
		begin := time.Now()
		if err := b.prepare(ctx); err != nil {
			return nil, fmt.Errorf("prepare layout %s: %w", name, err)
		}
		log.Printf("%s: %d finished executions stored in %v", name, p.history, time.Since(begin).Round(time.Second))
		benches = append(benches, b)
	}
	return benches, nil
}

// measureAll goes round by round through all layouts, so that a change of the
// machine's other load meets them all.
func measureAll(ctx context.Context, benches []*bench, p plan) error {
	for round := range p.rounds {
		for _, b := range benches {
			r, err := b.measure(ctx)
			if err != nil {
				return fmt.Errorf("layout %s: %w", b.layout.name, err)
			}
			b.results = append(b.results, r)
			log.Printf("round %d %-6s %v", round+1, b.layout.name, r)
		}
	}
	for _, b := range benches {
		if err := b.measureClaims(ctx); err != nil {
			return fmt.Errorf("layout %s: claims: %w", b.layout.name, err)
		}
	}
	printTable(os.Stdout, benches)
	return nil
}
