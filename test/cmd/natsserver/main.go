// Natsserver runs a NATS server with JetStream for tests and benchmarks, in a process of its own so that it can be measured apart from
// its clients and outlives them.
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

	"workflow.uniconnect/pkg/bus"
)

const stopTimeout = 10 * time.Second

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "natsserver:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	addr := flag.String("addr", "127.0.0.1:4222", "where to listen")
	ready := flag.String("ready", "", "where GET answers 200 once the server is up")
	store := flag.String("store", "", "where the streams are kept")
	flag.Parse()

	server, err := bus.StartEmbedded(bus.EmbeddedOptions{StoreDir: *store, Addr: *addr})
	if err != nil {
		return err
	}
	defer func() {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if stopErr := server.Shutdown(stopCtx); err == nil {
			err = stopErr
		}
	}()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *ready)
	if err != nil {
		return err
	}
	health := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }),
		ReadHeaderTimeout: stopTimeout,
	}
	served := make(chan error, 1)
	go func() { served <- health.Serve(listener) }()
	select {
	case <-ctx.Done():
		err := health.Close() // nobody needs its answer any more
		if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
			err = errors.Join(err, serveErr)
		}
		return err
	case err := <-served:
		return err
	}
}
