//go:build linux

// Catalogbench measures the management of workflows while one tenant has very many.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"workflow.uniconnect/test/catalogbench"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "catalogbench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	cfg := catalogbench.Config{Progress: os.Stderr}
	flag.IntVar(&cfg.Workflows, "workflows", 100_000, "workflows in the tenant")
	flag.IntVar(&cfg.Active, "active", 10_000, "of them active")
	flag.IntVar(&cfg.Rate, "rate", 200, "requests a second")
	flag.DurationVar(&cfg.Time, "time", 30*time.Second, "how long to measure")
	flag.StringVar(&cfg.View, "view", "BASIC", "what lists return: BASIC, as cards need, or FULL")
	flag.IntVar(&cfg.Rounds, "rounds", 20, "how often the index takes each kind of change")
	limit := flag.Duration("timeout", 8*time.Minute, "when to give up")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	return catalogbench.Run(ctx, cfg, os.Stdout)
}
