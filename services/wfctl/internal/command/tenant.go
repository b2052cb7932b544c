package command

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"workflow.uniconnect/pkg/protodoc"
	"workflow.uniconnect/services/wfctl/internal/show"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
)

func (a *App) tenant() *cobra.Command {
	cmd := &cobra.Command{
		Use: "tenant", Aliases: []string{"tenants"}, Short: "Begin, suspend, export and end tenants (for the platform team)", Args: noSuchCommand, RunE: help,
		Long: `Administer tenants. These calls go to the catalog itself, over gRPC at UC_CATALOG_ADDR, with the identity of a service that UC_PLATFORM_ADMINS
names: UC_OIDC_ISSUER, UC_OIDC_CLIENT_ID and UC_OIDC_CLIENT_SECRET_FILE, or a token in UC_TOKEN_FILE. In development --data-dir is enough.`,
	}
	cmd.AddCommand(
		a.createTenant(), a.getTenant(), a.listTenants(), a.tenantSettings(), a.suspendTenant(), a.resumeTenant(), a.exportTenant(), a.deleteTenant(),
	)
	return cmd
}

// done says what was done, or writes what it was done to.
func (o *office) done(t *accessv1.Tenant, format string, args ...any) error {
	if o.IsDocument() {
		return o.Document(t)
	}
	return o.Line(format, args...)
}

func (o *office) output(whole proto.Message, tenants ...*accessv1.Tenant) error {
	if o.IsDocument() {
		return o.Document(whole)
	}
	return o.Table(o.Tenants(tenants))
}

func (a *App) createTenant() *cobra.Command {
	var title, owner, zone string
	cmd := &cobra.Command{
		Use: "create TENANT --owner USER", Short: "Make a tenant", Args: args(1, 1),
		Long:    "Make a tenant with its default roles, the module workflow enabled and one System Owner. A name that was a tenant's is free 30 days after its end.",
		Example: "  wfctl tenant create initech --title Initech --owner 00u8cjr2 --time-zone America/Chicago",
		RunE: func(cmd *cobra.Command, names []string) error {
			if owner == "" {
				return usage("--owner is missing: the subject of the first System Owner's tokens")
			}
			o, err := a.office(cmd.Context())
			if err != nil {
				return err
			}
			t := &accessv1.Tenant{Tenant: names[0], Title: title}
			if t.GetTitle() == "" {
				t.Title = names[0]
			}
			if zone != "" {
				t.Settings = &accessv1.TenantSettings{TimeZone: zone}
			}
			made, err := o.api.CreateTenant(cmd.Context(), &accessv1.CreateTenantRequest{Tenant: t, Owner: owner})
			if err != nil {
				return err
			}
			return o.done(made.GetTenant(), "tenant %s created; %s is its System Owner", names[0], show.Text(owner))
		},
	}
	cmd.Flags().StringVar(&title, "title", "", "what people call it; the name when empty")
	cmd.Flags().StringVar(&owner, "owner", "", "subject of the first System Owner's tokens")
	cmd.Flags().StringVar(&zone, "time-zone", "", "zone of schedules that name none, for example Europe/Berlin; UTC when empty")
	return cmd
}

func (a *App) getTenant() *cobra.Command {
	return &cobra.Command{
		Use: "get TENANT", Short: "Show one tenant", Args: args(1, 1),
		RunE: func(cmd *cobra.Command, names []string) error {
			o, err := a.office(cmd.Context())
			if err != nil {
				return err
			}
			t, err := o.api.GetTenant(cmd.Context(), &accessv1.GetTenantRequest{Tenant: names[0]})
			if err != nil {
				return err
			}
			return o.output(t.GetTenant(), t.GetTenant())
		},
	}
}

func (a *App) listTenants() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List tenants by name", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.office(cmd.Context())
			if err != nil {
				return err
			}
			all, err := o.api.Tenants(cmd.Context())
			if err != nil {
				return err
			}
			return o.output(&accessv1.ListTenantsResponse{Tenants: all}, all...)
		},
	}
}

func (a *App) tenantSettings() *cobra.Command {
	var file, title string
	cmd := &cobra.Command{
		Use: "settings TENANT", Short: "Show or change a tenant's settings, quotas included", Args: args(1, 1),
		Long: `Without -f, show the settings as a document. With -f, change those that the document has; the others stay. A document with an etag is refused when
the settings changed since it was written.`,
		Example: "  wfctl tenant settings initech > settings.yaml\n  wfctl tenant settings initech -f settings.yaml\n  echo 'quotas: {requestsPerSecond: 500}' | wfctl tenant settings initech -f -",
		RunE: func(cmd *cobra.Command, names []string) error {
			o, err := a.office(cmd.Context())
			if err != nil {
				return err
			}
			if !o.IsDocument() {
				o.Format = show.YAML
			}
			if file == "" && title == "" {
				t, err := o.api.GetTenant(cmd.Context(), &accessv1.GetTenantRequest{Tenant: names[0]})
				if err != nil {
					return err
				}
				return o.Document(t.GetTenant().GetSettings())
			}
			t := &accessv1.Tenant{Tenant: names[0], Title: title}
			if file != "" {
				if t.Settings, err = a.readSettings(file); err != nil {
					return err
				}
			}
			changed, err := o.api.UpdateTenant(cmd.Context(), &accessv1.UpdateTenantRequest{Tenant: t, UpdateMask: given(t)})
			if err != nil {
				return err
			}
			return o.Document(changed.GetTenant().GetSettings())
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "YAML or JSON with what changes; - is standard input")
	cmd.Flags().StringVar(&title, "title", "", "what people call the tenant from now on")
	return cmd
}

// given names what a change of a tenant holds; quotas one by one, so that those that are not named stay.
func given(t *accessv1.Tenant) *fieldmaskpb.FieldMask {
	mask := &fieldmaskpb.FieldMask{}
	if t.GetTitle() != "" {
		mask.Paths = append(mask.Paths, "title")
	}
	t.GetSettings().ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		switch f.Name() {
		case "etag":
		case "quotas":
			t.GetSettings().GetQuotas().ProtoReflect().Range(func(q protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
				mask.Paths = append(mask.Paths, "settings.quotas."+string(q.Name()))
				return true
			})
		default:
			mask.Paths = append(mask.Paths, "settings."+string(f.Name()))
		}
		return true
	})
	slices.Sort(mask.GetPaths())
	return mask
}

func (a *App) readSettings(file string) (*accessv1.TenantSettings, error) {
	read := func() ([]byte, error) { return os.ReadFile(file) }
	if file == "-" {
		read = func() ([]byte, error) { return io.ReadAll(io.LimitReader(a.Stdin, maxDocument+1)) }
	}
	text, err := read()
	if err != nil {
		return nil, usage("-f: %v", err)
	}
	settings := &accessv1.TenantSettings{}
	if err := protodoc.Unmarshal(text, settings, limits()); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return settings, nil
}

func (a *App) suspendTenant() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "suspend TENANT --reason TEXT", Short: "Refuse every call of a tenant and start nothing any more", Args: args(1, 1),
		RunE: func(cmd *cobra.Command, names []string) error {
			if reason == "" {
				return usage("--reason is missing: why, for the audit, which the tenant can read")
			}
			o, err := a.office(cmd.Context())
			if err != nil {
				return err
			}
			t, err := o.api.SuspendTenant(cmd.Context(), &accessv1.SuspendTenantRequest{Tenant: names[0], Reason: reason})
			if err != nil {
				return err
			}
			return o.done(t.GetTenant(), "tenant %s is suspended; executions under way finish", names[0])
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit")
	return cmd
}

func (a *App) resumeTenant() *cobra.Command {
	return &cobra.Command{
		Use: "resume TENANT", Short: "End a suspension", Args: args(1, 1),
		RunE: func(cmd *cobra.Command, names []string) error {
			o, err := a.office(cmd.Context())
			if err != nil {
				return err
			}
			t, err := o.api.ResumeTenant(cmd.Context(), &accessv1.ResumeTenantRequest{Tenant: names[0]})
			if err != nil {
				return err
			}
			return o.done(t.GetTenant(), "tenant %s is in use again; what happened meanwhile starts nothing", names[0])
		},
	}
}

func (a *App) exportTenant() *cobra.Command {
	return &cobra.Command{
		Use: "export TENANT", Short: "Write everything of a tenant, one JSON document a line", Args: args(1, 1),
		Long: `Write everything of a tenant to standard output: one line {"kind": …, "document": …} for the tenant, each module, role, user, workflow, revision,
backup, draft, entry of the audit, execution and dead letter. For documents that fit together, suspend the tenant first.`,
		Example: "  wfctl tenant export initech | gzip > initech.jsonl.gz",
		RunE: func(cmd *cobra.Command, names []string) error {
			o, err := a.office(cmd.Context())
			if err != nil {
				return err
			}
			return o.export(cmd.Context(), names[0])
		},
	}
}

// exported is one line of an export.
type exported struct {
	Kind     string          `json:"kind"`
	Document json.RawMessage `json:"document"`
}

func (o *office) export(ctx context.Context, name string) error {
	stream, err := o.api.ExportTenant(ctx, &accessv1.ExportTenantRequest{Tenant: name})
	if err != nil {
		return err
	}
	out := bufio.NewWriter(o.Out)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for {
		doc, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out.Flush()
		}
		if err != nil {
			return errors.Join(err, out.Flush())
		}
		if err := encoder.Encode(exported{Kind: doc.GetKind(), Document: doc.GetDocument()}); err != nil {
			return fmt.Errorf("write a document of kind %s: %w", doc.GetKind(), err)
		}
	}
}

func (a *App) deleteTenant() *cobra.Command {
	var yes, wait bool
	cmd := &cobra.Command{
		Use: "delete TENANT", Short: "Remove a tenant with everything that belongs to it, in every service", Args: args(1, 1),
		RunE: func(cmd *cobra.Command, names []string) error {
			o, err := a.office(cmd.Context())
			if err != nil {
				return err
			}
			name := names[0]
			if !yes {
				if err := a.confirmTenant(cmd.Context(), o, name); err != nil {
					return err
				}
			}
			t, err := o.api.DeleteTenant(cmd.Context(), &accessv1.DeleteTenantRequest{Tenant: name, Confirm: name})
			if err != nil {
				return err
			}
			if !wait {
				return o.done(t.GetTenant(), "tenant %s is being deleted", name)
			}
			if err := o.api.AwaitTenantGone(cmd.Context(), name); err != nil {
				return err
			}
			return o.done(t.GetTenant(), "tenant %s is gone", name)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&wait, "wait", false, "return when everything is gone")
	return cmd
}

// confirmTenant has the name typed.
func (a *App) confirmTenant(ctx context.Context, o *office, name string) error {
	if !a.Interactive {
		return usage("deleting is final: give --yes when nobody can be asked")
	}
	t, err := o.api.GetTenant(ctx, &accessv1.GetTenantRequest{Tenant: name})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Stderr, "Deleting tenant %s (%s) is final: its workflows, executions, events, roles and audit go in every service.\nType its name to go on: ",
		name, show.Text(t.GetTenant().GetTitle()))
	if err != nil {
		return err
	}
	line, err := bufio.NewReader(a.Stdin).ReadString('\n')
	if err != nil && line == "" {
		return errors.New("nothing was typed; nothing was deleted")
	}
	if strings.TrimRight(line, "\r\n") != name {
		return errors.New("that is not the name; nothing was deleted")
	}
	return nil
}
