package grpcfault

import (
	"context"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"workflow.uniconnect/pkg/fault"
)

// UnaryServer returns the interceptor that answers with statuses. What clients may not read goes to log, once, here.
func UnaryServer(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		resp, err := handler(ctx, req)
		if err != nil {
			report(ctx, log, info.FullMethod, err)
			return nil, ToStatus(err)
		}
		return resp, nil
	}
}

// StreamServer is UnaryServer for streams.
func StreamServer(log *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		err := handler(srv, stream)
		if err != nil {
			report(stream.Context(), log, info.FullMethod, err)
		}
		return ToStatus(err)
	}
}

// report writes what the client will not see of err.
func report(ctx context.Context, log *slog.Logger, method string, err error) {
	f := asFault(err)
	switch f.Kind {
	case fault.KindInternal, fault.KindNone:
		log.ErrorContext(ctx, "call failed", "method", method, "error", err)
	case fault.KindUnavailable:
		log.WarnContext(ctx, "call not served", "method", method, "reason", string(f.Reason), "error", err)
	default:
		if f.Unwrap() != nil {
			log.DebugContext(ctx, "call refused", "method", method, "reason", string(f.Reason), "error", err)
		}
	}
}

// UnaryClient returns the interceptor that gives callers faults.
func UnaryClient() grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		return FromStatus(invoke(ctx, method, req, reply, cc, opts...))
	}
}

// StreamClient is UnaryClient for streams: every method of the stream gives faults.
func StreamClient() grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		stream, err := open(ctx, desc, cc, method, opts...)
		if err != nil {
			return nil, FromStatus(err)
		}
		return &clientStream{ClientStream: stream}, nil
	}
}

type clientStream struct{ grpc.ClientStream }

func (s *clientStream) Header() (metadata.MD, error) {
	md, err := s.ClientStream.Header()
	return md, FromStatus(err)
}

func (s *clientStream) CloseSend() error      { return FromStatus(s.ClientStream.CloseSend()) }
func (s *clientStream) SendMsg(msg any) error { return FromStatus(s.ClientStream.SendMsg(msg)) }
func (s *clientStream) RecvMsg(msg any) error { return FromStatus(s.ClientStream.RecvMsg(msg)) }
