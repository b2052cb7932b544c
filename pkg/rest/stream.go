package rest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"workflow.uniconnect/pkg/fault"
)

// mediaLines is the type of a stream: one JSON object on each line.
const mediaLines = "application/x-ndjson"

// NewStream opens a server stream. The call is made when the request was sent. The stream ends with its context, which must be cancelled
// when the stream is left before its end, as with gRPC.
func (c *Conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	if desc.ClientStreams || !desc.ServerStreams {
		return nil, fault.Unimplemented(fault.ReasonUnknownMethod, method+" cannot be called over REST")
	}
	b, err := bindingOf(method)
	if err != nil {
		return nil, err
	}
	return &clientStream{ctx: ctx, conn: c, binding: b}, nil
}

// clientStream reads the lines of an answer.
type clientStream struct {
	ctx     context.Context // of this stream; grpc.ClientStream hands it out
	conn    *Conn
	binding *binding
	request any

	open   sync.Once
	body   io.Closer
	lines  *bufio.Scanner
	failed error
}

// SendMsg takes the request.
func (s *clientStream) SendMsg(m any) error {
	if s.request != nil {
		return errors.New("the method takes one request")
	}
	s.request = m
	return nil
}

// CloseSend makes the call. What comes of it, RecvMsg tells.
func (s *clientStream) CloseSend() error {
	s.open.Do(func() {
		answer, err := s.conn.send(s.ctx, s.binding, s.request, mediaLines) //nolint:bodyclose // RecvMsg closes it at the end of the stream
		if err != nil {
			s.failed = err
			return
		}
		s.body, s.lines = answer.Body, bufio.NewScanner(answer.Body)
		s.lines.Buffer(nil, maxAnswer)
		s.lines.Split(wholeLines)
	})
	return nil
}

// RecvMsg reads the next message, or returns io.EOF at the end of the stream.
func (s *clientStream) RecvMsg(m any) error {
	_ = s.CloseSend() // never fails
	if s.failed != nil {
		return s.failed
	}
	s.failed = s.receive(m)
	if s.failed != nil {
		_ = s.body.Close()
	}
	return s.failed
}

func (s *clientStream) receive(m any) error {
	reply, ok := m.(proto.Message)
	if !ok {
		return notMessage(m)
	}
	if !s.lines.Scan() {
		if err := s.lines.Err(); err != nil {
			return s.conn.failed(s.ctx, fmt.Errorf("read the stream: %w", err))
		}
		return io.EOF
	}
	var line struct {
		Result json.RawMessage `json:"result"`
		Error  json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(s.lines.Bytes(), &line); err != nil {
		return notOurs(err)
	}
	if line.Error != nil {
		return refusal(&http.Response{StatusCode: http.StatusInternalServerError}, s.lines.Bytes())
	}
	proto.Reset(reply)
	return s.binding.decode(line.Result, mediaLines, reply)
}

// wholeLines is bufio.ScanLines for streams whose every line ends: one that is cut is no line.
//
//nolint:revive // the signature is bufio.SplitFunc's
func wholeLines(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return 0, nil, nil
}

// Header returns nothing: REST has no metadata for programs.
func (s *clientStream) Header() (metadata.MD, error) { return nil, nil }

// Trailer returns nothing.
func (s *clientStream) Trailer() metadata.MD { return nil }

// Context returns the context of the stream.
func (s *clientStream) Context() context.Context { return s.ctx }
