// Package bus is how services reach NATS: a connection that comes back by
// itself, streams and consumers kept as configured, traces carried in headers,
// and a NATS server inside the process for development, tests and small
// installations.
//
// Names of streams and subjects belong to the callers. The bus carries events;
// it is never the only copy of work that was accepted.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"workflow.uniconnect/pkg/fault"
)

// ReasonBusUnavailable is the reason of the faults that Classify and Ready make.
const ReasonBusUnavailable fault.Reason = "BUS_UNAVAILABLE"

const (
	connectTimeout   = 2 * time.Second
	reconnectWait    = 250 * time.Millisecond
	reconnectJitter  = 500 * time.Millisecond
	pingInterval     = 5 * time.Second
	maxPingsUnheard  = 2
	readyTimeout     = 2 * time.Second
	retryAfter       = time.Second
	drainTimeout     = 10 * time.Second
	disabledBuffer   = -1
	reconnectForever = -1
)

// Options says which server to use.
type Options struct {
	// URL lists the servers, separated by commas. Ignored with InProcess.
	URL string
	// Name shows in the server's list of connections.
	Name string
	// InProcess connects to an embedded server without a socket.
	InProcess *Server
	// Logger may be nil.
	Logger *slog.Logger
}

// Connect returns a connection that is kept up for as long as it is open: it
// reconnects for ever, with jitter so that a restarted server is not met by all
// its clients in the same instant. Connect succeeds although no server answers
// yet; Ready tells. While disconnected, a publish fails at once and is not
// buffered, because a buffered message is lost with the process.
func Connect(opts Options) (*nats.Conn, error) {
	log := opts.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	options := []nats.Option{
		nats.Name(opts.Name),
		nats.Timeout(connectTimeout),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(reconnectForever),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		nats.ReconnectBufSize(disabledBuffer),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPingsUnheard),
		nats.DrainTimeout(drainTimeout),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			log.Warn("disconnected from the bus", "error", err)
		}),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("connected to the bus again") }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			log.Warn("bus error", "error", err, "subject", subject)
		}),
	}
	if opts.InProcess != nil {
		options = append(options, nats.InProcessServer(opts.InProcess.server))
	}
	conn, err := nats.Connect(opts.URL, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to the bus: %w", err)
	}
	return conn, nil
}

// Drain lets subscriptions finish what they have, flushes, and closes the
// connection. It returns when that is done or ctx ends.
func Drain(ctx context.Context, conn *nats.Conn) error {
	closed := conn.StatusChanged(nats.CLOSED)
	if err := conn.Drain(); err != nil {
		conn.Close()
		if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrConnectionReconnecting) {
			return nil
		}
		return fmt.Errorf("drain the bus connection: %w", err)
	}
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		conn.Close()
		return fmt.Errorf("drain the bus connection: %w", ctx.Err())
	}
}

// Ready checks that JetStream answers and that the named streams exist.
func Ready(ctx context.Context, js jetstream.JetStream, streams ...string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if status := js.Conn().Status(); status != nats.CONNECTED {
		return unavailable(fmt.Errorf("connection is %s", status))
	}
	if _, err := js.AccountInfo(ctx); err != nil {
		return unavailable(fmt.Errorf("ask JetStream: %w", err))
	}
	for _, name := range streams {
		if _, err := js.Stream(ctx, name); err != nil {
			return unavailable(fmt.Errorf("look up stream %s: %w", name, err))
		}
	}
	return nil
}

// Classify gives an error of the bus its meaning for a caller: a fault of kind
// Unavailable when trying again later may help, else the error as it is. A
// cancelled context stays what it is.
func Classify(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if _, ok := fault.As(err); ok {
		return err
	}
	for _, transient := range []error{
		context.DeadlineExceeded,
		nats.ErrTimeout, nats.ErrNoResponders, nats.ErrNoServers, nats.ErrDisconnected,
		nats.ErrConnectionClosed, nats.ErrConnectionReconnecting, nats.ErrConnectionDraining,
		nats.ErrReconnectBufExceeded, nats.ErrStaleConnection,
		jetstream.ErrNoStreamResponse, jetstream.ErrJetStreamNotEnabled, jetstream.ErrTooManyStalledMsgs,
	} {
		if errors.Is(err, transient) {
			return unavailable(err)
		}
	}
	// The server's own errors: 503 is "no leader, no resources, store full".
	var api jetstream.JetStreamError
	if errors.As(err, &api) && api.APIError() != nil && api.APIError().Code == 503 {
		return unavailable(err)
	}
	return err
}

func unavailable(err error) error {
	return fault.Unavailable(ReasonBusUnavailable, "the event bus is not available").
		WithCause(err).WithRetryAfter(retryAfter)
}
