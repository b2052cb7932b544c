// Command service-client shows how another service of the platform calls the Workflow Manager: it gets a token with its own credentials,
// publishes an event for a tenant over gRPC, and lists the tenant's last executions.
//
// What it needs is in the environment; see docs/service-identities.md.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := run(ctx, os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "service-client:", err)
		os.Exit(1) //nolint:gocritic // the deferred cancel has nothing left to end
	}
}

// run does the work. The settings come from getenv.
func run(ctx context.Context, getenv func(string) string, out io.Writer) error {
	transport, err := transportOf(getenv("CA_FILE"), getenv("CERT_FILE"), getenv("KEY_FILE"))
	if err != nil {
		return err
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithPerRPCCredentials(&identity{
			tokens: tokensOf(ctx, getenv), tenant: getenv("TENANT"), secured: getenv("CA_FILE") != "",
		}),
	}
	scheduler, err := grpc.NewClient(getenv("SCHEDULER_ADDR"), options...)
	if err != nil {
		return fmt.Errorf("dial trigger-scheduler: %w", err)
	}
	defer func() { _ = scheduler.Close() }()
	executor, err := grpc.NewClient(getenv("EXECUTOR_ADDR"), options...)
	if err != nil {
		return fmt.Errorf("dial executor: %w", err)
	}
	defer func() { _ = executor.Close() }()

	if err := publish(ctx, workflowv1.NewTriggerSchedulerServiceClient(scheduler), out); err != nil {
		return err
	}
	return list(ctx, workflowv1.NewExecutorServiceClient(executor), out)
}

func publish(ctx context.Context, client workflowv1.TriggerSchedulerServiceClient, out io.Writer) error {
	data, err := structpb.NewValue(map[string]any{"call_id": "call-1", "result": "answered"})
	if err != nil {
		return fmt.Errorf("make the event: %w", err)
	}
	answer, err := client.PublishEvent(ctx, &workflowv1.PublishEventRequest{Event: &workflowv1.CloudEvent{
		// The same id and source again would be the same event, which starts nothing twice.
		Id: "example-" + time.Now().UTC().Format(time.RFC3339Nano), Source: "/service-client", Type: "call.ended", Data: data,
	}})
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	_, err = fmt.Fprintf(out, "published %s as %s\n", answer.GetEventId(), answer.GetId())
	return err
}

func list(ctx context.Context, client workflowv1.ExecutorServiceClient, out io.Writer) error {
	answer, err := client.ListExecutions(ctx, &workflowv1.ListExecutionsRequest{PageSize: 10})
	if err != nil {
		return fmt.Errorf("list executions: %w", err)
	}
	for _, e := range answer.GetExecutions() {
		if _, err := fmt.Fprintln(out, "execution", e.GetId(), e.GetState()); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(out, "%d executions\n", len(answer.GetExecutions()))
	return err
}

// tokensOf gets tokens by client credentials and keeps each until it is about to end.
func tokensOf(ctx context.Context, getenv func(string) string) oauth2.TokenSource {
	config := clientcredentials.Config{
		ClientID: getenv("CLIENT_ID"), ClientSecret: getenv("CLIENT_SECRET"), TokenURL: getenv("TOKEN_URL"),
		EndpointParams: url.Values{"audience": {getenv("AUDIENCE")}},
	}
	return config.TokenSource(ctx)
}

// identity puts the token on every call and, for a service that may choose, the tenant.
type identity struct {
	tokens  oauth2.TokenSource
	tenant  string
	secured bool
}

// GetRequestMetadata is called by gRPC for each call.
func (i *identity) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := i.tokens.Token()
	if err != nil {
		return nil, fmt.Errorf("get a token: %w", err)
	}
	md := map[string]string{"authorization": "Bearer " + token.AccessToken}
	if i.tenant != "" {
		md["uc-tenant"] = i.tenant
	}
	return md, nil
}

// RequireTransportSecurity keeps the token from going out in the clear. Without a CA_FILE, which is for one's own machine, it may.
func (i *identity) RequireTransportSecurity() bool { return i.secured }

// transportOf secures the connections: caFile has the authorities of the servers; the certificate is what an installation with mutual TLS
// asks for.
func transportOf(caFile, certFile, keyFile string) (credentials.TransportCredentials, error) {
	if caFile == "" {
		return insecure.NewCredentials(), nil
	}
	text, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("read CA_FILE: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM(text) {
		return nil, errors.New("CA_FILE holds no certificate")
	}
	if certFile != "" {
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("read CERT_FILE and KEY_FILE: %w", err)
		}
		config.Certificates = []tls.Certificate{cert}
	}
	return credentials.NewTLS(config), nil
}
