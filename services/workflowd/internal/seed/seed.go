// Package seed gives a development system what a new user needs to see something happen: two tenants with their users, and the
// workflows of the built-in templates. It does so once; what people change or delete afterwards stays so.
package seed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/devusers"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcclient"
	"workflow.uniconnect/pkg/service"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	catalog "workflow.uniconnect/services/workflow-catalog"
)

const (
	// owner is the user in whose name the workflows are saved.
	owner = "owner@acme.test"
	// retryEvery is how often saving is tried while the services that validate come up.
	retryEvery = 200 * time.Millisecond
	tokenTTL   = 10 * time.Minute
	// notifyPrefix begins the addresses of messages in the templates. In development the sandbox's sinks take them.
	notifyPrefix = "https://notify.example.com/"
)

// Tenants makes tenants.
type Tenants interface {
	EnsureTenant(ctx context.Context, seed catalog.TenantSeed) (created bool, err error)
}

// Seeder puts the seeds in place.
type Seeder struct {
	tenants Tenants
	issuer  *auth.Issuer
	conn    *grpc.ClientConn
	sandbox string
	marker  string
	// tenantsOnly says that nobody's token can be made here: an OpenID Connect issuer has the place of the development issuer.
	tenantsOnly bool
	log         *slog.Logger
}

// New returns a seeder for a development system.
func New(deps service.Deps, tenants Tenants) (*Seeder, error) {
	issuer, err := auth.OpenIssuer(deps.Settings.DataDir)
	if err != nil {
		return nil, fmt.Errorf("open the development issuer: %w", err)
	}
	s := &Seeder{tenants: tenants, issuer: issuer, sandbox: deps.Settings.SandboxAddr, log: deps.Telemetry.Logger}
	s.tenantsOnly = deps.Settings.OIDCIssuer != ""
	s.marker = filepath.Join(deps.Settings.DataDir, "seeded")
	s.conn, err = grpcclient.Dial(deps.Settings.CatalogAddr, grpcclient.Options{Telemetry: deps.Telemetry, TokenSource: s, Credentials: deps.Dialling})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Token makes a token of the owner, so that the seed's calls pass the same gates as a person's.
func (s *Seeder) Token(context.Context) (string, error) {
	user, ok := devusers.Find(owner)
	if !ok {
		return "", fmt.Errorf("no development user %s", owner)
	}
	return s.issuer.Issue(user.Principal(), tokenTTL)
}

// Run puts the seeds in place and returns. A file in the data directory tells the next start that it was done.
func (s *Seeder) Run(ctx context.Context) error {
	defer func() { _ = s.conn.Close() }()
	_, err := os.Stat(s.marker)
	done := err == nil
	for _, tenant := range tenants() {
		created, err := s.tenants.EnsureTenant(ctx, tenant)
		if err != nil {
			return fmt.Errorf("tenant %s: %w", tenant.Tenant, err)
		}
		done = done && !created // the database is another one than the file speaks of
	}
	if done {
		return nil
	}
	for _, id := range s.templates() {
		if err := s.saveTemplate(ctx, id); err != nil {
			return fmt.Errorf("template %s: %w", id, err)
		}
	}
	if err := os.WriteFile(s.marker, []byte("The seeds are in place; they are not made again while this file exists.\n"), 0o600); err != nil {
		return fmt.Errorf("remember that the seeds are in place: %w", err)
	}
	s.log.InfoContext(ctx, "seeds are in place")
	return nil
}

// templates names those that are workflows of the first tenant from the beginning.
func (s *Seeder) templates() []string {
	if s.tenantsOnly {
		return nil
	}
	return []string{"on-call-ended", "on-disposition-submitted"}
}

// saveTemplate makes a workflow of a template. A workflow of that title is left alone.
func (s *Seeder) saveTemplate(ctx context.Context, id string) error {
	client := workflowv1.NewWorkflowCatalogServiceClient(s.conn)
	return untilServed(ctx, func() error {
		got, err := client.GetTemplate(ctx, &workflowv1.GetTemplateRequest{Id: id})
		if err != nil {
			return fmt.Errorf("get: %w", err)
		}
		w, err := s.localize(got.GetTemplate().GetWorkflow())
		if err != nil {
			return err
		}
		_, err = client.CreateWorkflow(ctx, &workflowv1.CreateWorkflowRequest{Workflow: w})
		if fault.KindOf(err) == fault.KindAlreadyExists {
			return nil
		}
		return err
	})
}

// localize lets the messages of a workflow go to the sandbox.
func (s *Seeder) localize(w *workflowv1.Workflow) (*workflowv1.Workflow, error) {
	text, err := protojson.Marshal(w)
	if err != nil {
		return nil, err
	}
	local := strings.ReplaceAll(string(text), notifyPrefix, "http://"+s.sandbox+"/sink/")
	var out workflowv1.Workflow
	return &out, protojson.Unmarshal([]byte(local), &out)
}

// untilServed does something again for as long as a service is not up.
func untilServed(ctx context.Context, do func() error) error {
	for {
		err := do()
		switch fault.KindOf(err) {
		case fault.KindUnavailable, fault.KindDeadlineExceeded:
		default:
			return err
		}
		timer := time.NewTimer(retryEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(ctx.Err(), err)
		case <-timer.C:
		}
	}
}

// tenants lists the development tenants with their roles and users.
func tenants() []catalog.TenantSeed {
	all := []catalog.TenantSeed{
		{Tenant: "acme", Title: "Acme", TimeZone: "Europe/Berlin"},
		{Tenant: "globex", Title: "Globex", TimeZone: "America/New_York"},
	}
	for i := range all {
		all[i].Roles = []catalog.RoleSeed{
			{Title: devusers.RoleBuilder, Permissions: []string{
				"workflow.view", "workflow.create", "workflow.edit", "workflow.activate", "workflow.run", "workflow.backup",
				"workflow.restore", "workflow.delete", "execution.view", "execution.cancel", "execution.retry", "connection.view",
				"connection.manage", "event.publish",
			}},
			{Title: devusers.RoleViewer, Permissions: []string{"workflow.view", "execution.view"}},
		}
		for _, u := range devusers.All() {
			if u.Tenant == all[i].Tenant {
				all[i].Users = append(all[i].Users, catalog.UserSeed{Subject: u.Name, Roles: u.Roles})
			}
		}
	}
	return all
}
