//go:build linux

// Bench measures the product beside the reference loop and prints one table.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"workflow.uniconnect/test/bench"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	cfg := bench.Config{Progress: os.Stderr}
	flag.IntVar(&cfg.Rounds, "rounds", 3, "rounds of each side")
	flag.IntVar(&cfg.Runs, "runs", 10000, "runs in a round")
	flag.IntVar(&cfg.Workflows, "workflows", 1000, "active workflows")
	flag.IntVar(&cfg.Sharing, "sharing", 200, "workflows that share the event's type and have another filter")
	flag.StringVar(&cfg.Filters, "filters", "equality", "filters of the workflows: equality (indexed) or range (not indexed)")
	flag.IntVar(&cfg.Rate, "rate", 50, "events a second for the latency")
	flag.DurationVar(&cfg.RateTime, "rate-time", 30*time.Second, "how long to measure the latency")
	flag.IntVar(&cfg.Growth, "growth", 10, "factor of events in the last round; 0: no such round")
	flag.BoolVar(&cfg.Separate, "separate", false, "measure separate processes in place of workflowd")
	flag.StringVar(&cfg.ProfileDir, "cpuprofile", "", "directory for CPU profiles of the services, from an extra round")
	limit := flag.Duration("timeout", 8*time.Minute, "when to give up")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	report, err := bench.Run(ctx, cfg)
	if report != nil {
		report.Print(os.Stdout)
	}
	return err
}
