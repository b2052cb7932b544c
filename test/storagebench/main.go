// Storagebench compares ways to store executions (docs/decisions/0001): it
// runs the executor's two statements, accept and finish, against each layout on
// a private PostgreSQL with full durability, and prints what they cost.
//
//	go run ./test/storagebench
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"time"
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
	warmUp  int
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
	flag.IntVar(&p.warmUp, "warm-up", 10_000, "executions before the measurement of a round")
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
		defer func() { err = errors.Join(err, os.RemoveAll(p.dir)) }()
		if err := os.Chmod(p.dir, 0o755); err != nil { //nolint:gosec // PostgreSQL's own user must pass through it when we are root
			return err
		}
	}
	var benches []*bench
	for name := range strings.SplitSeq(p.layouts, ",") {
		l, ok := layoutNamed(name)
		if !ok {
			return fmt.Errorf("there is no layout %q", name)
		}
		benches = append(benches, &bench{layout: l, plan: p})
	}
	for _, b := range benches {
		begin := time.Now()
		if err := b.withServer(ctx, b.prepare); err != nil {
			return fmt.Errorf("prepare layout %s: %w", b.layout.name, err)
		}
		log.Printf("%-6s %d finished executions stored in %v", b.layout.name, p.history, time.Since(begin).Round(time.Second))
	}
	if err := measureAll(ctx, benches, p); err != nil {
		return err
	}
	return printTable(os.Stdout, benches)
}

// measureAll goes round by round through all layouts, so that a change of the
// machine's other load meets them all. One server is up at a time: the
// autovacuum of another layout would count for the one that is measured.
func measureAll(ctx context.Context, benches []*bench, p plan) error {
	for _, phase := range []struct {
		name    string
		measure func(*bench, context.Context) (fmt.Stringer, error)
	}{
		{"run", (*bench).measure},
		{"claim", (*bench).measureClaims},
	} {
		for round := range p.rounds {
			for _, b := range benches {
				err := b.withServer(ctx, func(ctx context.Context) error {
					ctx, cancel := context.WithTimeout(ctx, p.limit)
					defer cancel()
					r, err := phase.measure(b, ctx)
					if err == nil {
						log.Printf("%s %d %-6s %v", phase.name, round+1, b.layout.name, r)
					}
					return err
				})
				if err != nil {
					return fmt.Errorf("layout %s: %w", b.layout.name, err)
				}
			}
		}
	}
	return nil
}
