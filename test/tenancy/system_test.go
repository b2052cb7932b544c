// Package tenancy holds the walls between tenants up to those who lean on them: every public RPC is called by one tenant with the ids of
// another, over gRPC and REST, and must answer as if there were nothing, and change nothing. It does so once more with services whose own
// filters on the tenant are taken out, which the database alone must stop; and it shows that without the database's policies it would notice.
package tenancy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"workflow.uniconnect/pkg/devpg"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcfault"
	"workflow.uniconnect/pkg/rest"
	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	_ "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1" // registers its messages
	"workflow.uniconnect/test/stack"
)

const (
	attacker, attackerTenant = "owner@acme.test", "acme"
	victim, victimTenant     = "owner@globex.test", "globex"
	soon                     = 20 * time.Second
)

// system is a deployment in one process, with ways to call it.
type system struct {
	*stack.Stack
	db     *pgxpool.Pool // of a superuser, who sees everything
	conns  map[string]*grpc.ClientConn
	tokens map[string]string
}

func newSystem(t *testing.T, opts stack.Options) *system {
	t.Helper()
	opts.Workflowd = true
	super, owner := ownedDatabase(t)
	opts.DatabaseURL = owner
	s := &system{Stack: stack.New(t, opts), tokens: make(map[string]string)}
	if err := s.AwaitSeeds(t.Context()); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.db, err = pgxpool.New(t.Context(), super); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.db.Close)
	s.conns = map[string]*grpc.ClientConn{
		"WorkflowCatalogService": dial(t, s.CatalogAddr), "AccessService": dial(t, s.CatalogAddr),
		"TriggerSchedulerService": dial(t, s.SchedulerAddrs[0]), "ExecutorService": dial(t, s.ExecutorAddrs[0]),
	}
	for _, user := range []string{attacker, victim} {
		s.tokens[user] = s.User(t, user).Token()
	}
	return s
}

// ownedDatabase makes a database as production has it, whose user owns it and may make roles, and is above nothing. It returns the URLs of a
// superuser and of that user.
func ownedDatabase(t *testing.T) (super, owner string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "uc-tenancy-*") //nolint:usetesting // PostgreSQL may run as another user, who must be able to enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	server, err := devpg.Start(t.Context(), devpg.Options{DataDir: dir, Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), soon)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	conn, err := pgx.Connect(t.Context(), server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, sql := range []string{`CREATE ROLE owner LOGIN CREATEROLE`, `CREATE DATABASE workflow OWNER owner`} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	super = server.URL("workflow")
	return super, strings.Replace(super, "user="+devpg.User, "user=owner", 1)
}

func dial(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// publicMethods are the RPCs that tokens of tenants are for. What reads comes first and what deletes last, so that where a wall is missing
// each finds something.
func publicMethods(t *testing.T) []protoreflect.MethodDescriptor {
	t.Helper()
	var all []protoreflect.MethodDescriptor
	for _, name := range []protoreflect.FullName{"uniconnect.access.v1", "uniconnect.workflow.v1"} {
		protoregistry.GlobalFiles.RangeFilesByPackage(name, func(f protoreflect.FileDescriptor) bool {
			for i := range f.Services().Len() {
				methods := f.Services().Get(i).Methods()
				for j := range methods.Len() {
					rule, ok := proto.GetExtension(methods.Get(j).Options(), accessv1.E_Access).(*accessv1.AccessRule)
					if ok && !rule.GetInternal() && !rule.GetPlatform() {
						all = append(all, methods.Get(j))
					}
				}
			}
			return true
		})
	}
	slices.SortFunc(all, func(a, b protoreflect.MethodDescriptor) int {
		return cmp.Or(cmp.Compare(harm(a), harm(b)), cmp.Compare(a.FullName(), b.FullName()))
	})
	const known = 45
	if len(all) < known {
		t.Fatalf("only %d public methods found", len(all))
	}
	return all
}

func harm(m protoreflect.MethodDescriptor) int {
	switch name := string(m.Name()); {
	case strings.HasPrefix(name, "Get"), strings.HasPrefix(name, "List"):
		return 0
	case strings.HasPrefix(name, "Delete"):
		return 2
	}
	return 1
}

// answer is what a caller learns.
type answer struct {
	code     codes.Code
	reason   string
	text     string // everything, as JSON
	response proto.Message
}

func (a answer) String() string { return fmt.Sprintf("%s %s %.300s", a.code, a.reason, a.text) }

// protocols are the names of the ways to call a method.
func protocols(m protoreflect.MethodDescriptor) []string {
	if proto.HasExtension(m.Options(), annotations.E_Http) {
		return []string{"grpc", "rest"}
	}
	return []string{"grpc"}
}

// call makes a call as a user. A call beyond the tenant's rate limit is made again when the answer says.
func (s *system) call(t *testing.T, protocol, user string, m protoreflect.MethodDescriptor, request proto.Message) answer {
	t.Helper()
	for {
		a, retry := s.callOnce(t, protocol, user, m, request)
		if a.reason != "RATE_LIMIT" {
			return a
		}
		timer := time.NewTimer(max(retry, time.Millisecond))
		select {
		case <-timer.C:
		case <-t.Context().Done():
			timer.Stop()
			t.Fatal(t.Context().Err())
		}
	}
}

func (s *system) callOnce(t *testing.T, protocol, user string, m protoreflect.MethodDescriptor, request proto.Message) (answer, time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	var conn grpc.ClientConnInterface = s.conns[string(m.Parent().Name())]
	if protocol == "rest" {
		over, err := rest.Dial(s.RESTURL, rest.Options{
			Token:   func(context.Context) (string, error) { return s.tokens[user], nil },
			Headers: map[protoreflect.Name]string{"request_id": "Idempotency-Key"}, Timeout: soon,
		})
		if err != nil {
			t.Fatal(err)
		}
		conn = over
	} else {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+s.tokens[user])
	}
	response, err := invoke(ctx, t, conn, m, request)
	if _, ok := fault.As(err); ok {
		err = grpcfault.ToStatus(err)
	}
	refusal := status.Convert(err)
	a := answer{code: refusal.Code(), response: response}
	said := response
	if err != nil {
		said = refusal.Proto()
	}
	text, encodeErr := protojson.Marshal(said)
	if encodeErr != nil {
		t.Fatal(encodeErr)
	}
	a.text = string(text)
	var retry time.Duration
	for _, detail := range refusal.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			a.reason = d.GetReason()
		case *errdetails.RetryInfo:
			retry = d.GetRetryDelay().AsDuration()
		}
	}
	return a, retry
}

// invoke makes a call. Of a stream, the first message is the answer.
func invoke(ctx context.Context, t *testing.T, conn grpc.ClientConnInterface, m protoreflect.MethodDescriptor, request proto.Message) (proto.Message, error) {
	t.Helper()
	name := fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
	response := newMessage(t, m.Output())
	if !m.IsStreamingServer() {
		return response, conn.Invoke(ctx, name, request, response)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, name)
	if err != nil {
		return response, err
	}
	if err := errors.Join(stream.SendMsg(request), stream.CloseSend()); err != nil {
		return response, err
	}
	if err := stream.RecvMsg(response); !errors.Is(err, io.EOF) {
		return response, err
	}
	return response, nil
}

func newMessage(t *testing.T, d protoreflect.MessageDescriptor) proto.Message {
	t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		t.Fatal(err)
	}
	return kind.New().Interface()
}

// digest is a sum over every row that is the victim's, by table.
func (s *system) digest(t *testing.T) map[string]string {
	t.Helper()
	rows, err := s.db.Query(t.Context(), tenantTables)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	const known = 20
	if len(tables) < known {
		t.Fatalf("only %d tables of tenants found: %v", len(tables), tables)
	}
	parts := make([]string, len(tables))
	for i, table := range tables {
		parts[i] = fmt.Sprintf(`SELECT '%[1]s', count(*) || ' ' || coalesce(md5(string_agg(x::text, '|' ORDER BY x::text)), '') FROM %[1]s x WHERE x.tenant = $1`, table)
	}
	if rows, err = s.db.Query(t.Context(), strings.Join(parts, " UNION ALL "), victimTenant); err != nil {
		t.Fatal(err)
	}
	sums := make(map[string]string, len(tables))
	var table, sum string
	if _, err := pgx.ForEachRow(rows, []any{&table, &sum}, func() error {
		sums[table] = sum
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return sums
}
