// Referenceloop runs the loop that the product's figures are compared with, with a NATS server inside, as workflowd has one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"

	"workflow.uniconnect/pkg/bus"
	"workflow.uniconnect/test/referenceloop"
)

const stopTimeout = 10 * time.Second

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "referenceloop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	addr := flag.String("addr", "", "where NATS listens")
	ready := flag.String("ready", "", "where GET answers 200 once triggers are taken")
	store := flag.String("store", "", "directory of NATS")
	database := flag.String("database", "", "URL of the database")
	target := flag.String("target", "", "URL to post to")
	flag.Parse()

	server, err := bus.StartEmbedded(bus.EmbeddedOptions{StoreDir: *store, Addr: *addr})
	if err != nil {
		return err
	}
	defer func() {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		err = errors.Join(err, server.Shutdown(stopCtx))
	}()
	conn, err := bus.Connect(bus.Options{InProcess: server, Name: "reference"})
	if err != nil {
		return err
	}
	defer conn.Close()
	pool, err := pgxpool.New(ctx, *database)
	if err != nil {
		return err
	}
	defer pool.Close()
	stop, err := serveReady(ctx, *ready, conn)
	if err != nil {
		return err
	}
	defer stop()
	return referenceloop.New(conn, pool, *target).Run(ctx)
}

// serveReady answers whether somebody listens to triggers.
func serveReady(ctx context.Context, addr string, conn *nats.Conn) (stop func(), err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	server := &http.Server{
		ReadHeaderTimeout: stopTimeout,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if conn.NumSubscriptions() == 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}),
	}
	served := make(chan struct{}) // closed when Serve has returned, which it does for Close alone
	go func() { defer close(served); _ = server.Serve(listener) }()
	return func() { _ = server.Close(); <-served }, nil
}
