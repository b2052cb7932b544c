package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcfault"
)

// writeTime is how long a reader of a stream may take for one line. A reader that has hung would hold the stream for ever.
const writeTime = 30 * time.Second

var errStopping = fault.Unavailable(fault.ReasonShuttingDown, "the gateway is stopping; connect again")

// EndStreams ends the streams under way, which would otherwise outlast any wait for calls to finish. It may be called once, when no new
// calls are taken.
func (e *Edge) EndStreams() { e.endStreams(errStopping) }

// streamed serves a stream with a context that ends with the gateway, and with a deadline for every line in place of one for all.
func (e *Edge) streamed(w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter, *http.Request)) {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(e.streams, func() { cancel(context.Cause(e.streams)) })()
	writer := &streamWriter{ResponseWriter: w, controller: http.NewResponseController(w)}
	_ = writer.controller.SetWriteDeadline(time.Time{}) // the first line may be long in coming
	// The connection may serve further calls.
	defer func() { _ = writer.controller.SetWriteDeadline(time.Time{}) }()
	next(writer, r.WithContext(ctx))
}

// streamWriter gives each line its own time.
type streamWriter struct {
	http.ResponseWriter
	controller *http.ResponseController
}

func (w *streamWriter) Write(b []byte) (int, error) {
	if err := w.controller.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController flush.
func (w *streamWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// streamStatus returns what the last line of a stream says.
func streamStatus(ctx context.Context, err error) *status.Status {
	if errors.Is(context.Cause(ctx), errStopping) {
		err = errStopping
	}
	callFrom(ctx).failure = err
	return status.Convert(grpcfault.ToStatus(err))
}

// clientStream makes a refusal that comes before any message a failure of the call, so that it is answered like that of any other.
type clientStream struct{ grpc.ClientStream }

func (s *clientStream) Header() (metadata.MD, error) {
	header, err := s.ClientStream.Header()
	if header != nil || err != nil {
		return header, err
	}
	// The server sent no header: it is done, and Recv says whether it has refused.
	if err := s.RecvMsg(nil); !errors.Is(err, io.EOF) {
		return nil, err
	}
	return nil, nil
}
