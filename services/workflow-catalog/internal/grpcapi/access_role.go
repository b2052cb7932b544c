package grpcapi

import (
	"context"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcserver"
	"workflow.uniconnect/pkg/listing"
	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/tenant"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// ListRoles returns the roles by title.
func (s *Access) ListRoles(ctx context.Context, req *accessv1.ListRolesRequest) (*accessv1.ListRolesResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	scope := listing.NewScope("roles", caller.Tenant)
	position, err := scope.Position(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	var after *tenant.RoleName
	if position != nil {
		at, err := positionOf(workflow.ByTitle, position)
		if err != nil {
			return nil, err
		}
		after = &tenant.RoleName{ID: tenant.RoleID(at.ID), Title: at.Title}
	}
	roles, more, err := s.admin.Roles(ctx, workflow.Tenant(caller.Tenant), after, pageSize(req.GetPageSize()))
	if err != nil {
		return nil, err
	}
	resp := &accessv1.ListRolesResponse{}
	for _, r := range roles {
		resp.Roles = append(resp.Roles, roleMessage(r))
	}
	if more {
		last := roles[len(roles)-1]
		resp.NextPageToken = scope.Token(positionBytes(workflow.ByTitle, workflow.Position{ID: workflow.ID(last.ID), Title: last.Title}))
	}
	return resp, nil
}

// GetRole returns one role.
func (s *Access) GetRole(ctx context.Context, req *accessv1.GetRoleRequest) (*accessv1.GetRoleResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	role, err := s.admin.Role(ctx, workflow.Tenant(caller.Tenant), tenant.RoleID(req.GetId()))
	if err != nil {
		return nil, err
	}
	return &accessv1.GetRoleResponse{Role: roleMessage(role)}, nil
}

// CreateRole adds a role.
func (s *Access) CreateRole(ctx context.Context, req *accessv1.CreateRoleRequest) (*accessv1.CreateRoleResponse, error) {
	if err := fault.Check(unprefixed(grpcserver.Validate(req), "role")...); err != nil {
		return nil, err
	}
	by, err := newCaller(ctx, methodCreateRole, req)
	if err != nil {
		return nil, err
	}
	role, err := s.admin.CreateRole(ctx, by, tenant.Role{
		Title: req.GetRole().GetTitle(), Description: req.GetRole().GetDescription(), Permissions: req.GetRole().GetPermissions(),
	})
	if err != nil {
		return nil, err
	}
	return &accessv1.CreateRoleResponse{Role: roleMessage(role)}, nil
}

// UpdateRole changes the masked fields of a role.
func (s *Access) UpdateRole(ctx context.Context, req *accessv1.UpdateRoleRequest) (*accessv1.UpdateRoleResponse, error) {
	found := grpcserver.Validate(req)
	if !isUUID(req.GetRole().GetId()) {
		found = append(found, fault.Violation{Field: "id", Description: "must be the id of a role"})
	}
	if err := fault.Check(found...); err != nil {
		return nil, err
	}
	by, err := newCaller(ctx, methodUpdateRole, req)
	if err != nil {
		return nil, err
	}
	target := tenant.RoleTarget{ID: roleID(req.GetRole().GetId()), ETag: req.GetRole().GetEtag()}
	role, err := s.admin.UpdateRole(ctx, by, target, func(before tenant.Role) (tenant.Role, error) {
		merged := roleMessage(before)
		found := take(merged, req.GetRole(), req.GetUpdateMask().GetPaths(), masked{noun: "role", role: roleOfRole})
		if err := fault.Check(append(found, grpcserver.Validate(merged)...)...); err != nil {
			return tenant.Role{}, err
		}
		before.Title, before.Description, before.Permissions = merged.GetTitle(), merged.GetDescription(), merged.GetPermissions()
		return before, nil
	})
	if err != nil {
		return nil, err
	}
	return &accessv1.UpdateRoleResponse{Role: roleMessage(role)}, nil
}

func roleOfRole(name protoreflect.Name) fieldRole {
	switch name {
	case "title", "description", "permissions":
		return configurable
	}
	return outputOnly
}

// DeleteRole removes a role.
func (s *Access) DeleteRole(ctx context.Context, req *accessv1.DeleteRoleRequest) (*accessv1.DeleteRoleResponse, error) {
	by, err := newCaller(ctx, methodDeleteRole, req)
	if err != nil {
		return nil, err
	}
	err = s.admin.DeleteRole(ctx, by, tenant.RoleTarget{ID: roleID(req.GetId()), ETag: req.GetEtag()})
	return &accessv1.DeleteRoleResponse{}, err
}

// roleID returns an id in the form that ours have.
func roleID(id string) tenant.RoleID { return tenant.RoleID(strings.ToLower(id)) }

func roleMessage(r tenant.Role) *accessv1.Role {
	return &accessv1.Role{
		Id: string(r.ID), Title: r.Title, Description: r.Description, Permissions: r.Permissions, GrantsAll: r.GrantsAll, BuiltIn: r.BuiltIn,
		UserCount: int32(min(r.Users, 1<<31-1)), Etag: r.ETag(), CreateTime: timestamp(r.CreateTime), UpdateTime: timestamp(r.UpdateTime),
	}
}

const maxSubject = 256

// ListUsers returns the users that hold a role, by name.
func (s *Access) ListUsers(ctx context.Context, req *accessv1.ListUsersRequest) (*accessv1.ListUsersResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(req.GetPrefix(), isControl) {
		return nil, fault.Invalid(fault.Violation{Field: "prefix", Description: "invalid character"})
	}
	scope := listing.NewScope("users", caller.Tenant, req.GetPrefix())
	position, err := scope.Position(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	after := string(position)
	if !utf8.ValidString(after) || strings.ContainsFunc(after, isControl) {
		return nil, listing.ErrPageToken
	}
	users, more, err := s.admin.Members(ctx, workflow.Tenant(caller.Tenant), req.GetPrefix(), after, pageSize(req.GetPageSize()))
	if err != nil {
		return nil, err
	}
	resp := &accessv1.ListUsersResponse{}
	for _, u := range users {
		resp.Users = append(resp.Users, userMessage(u))
	}
	if more {
		resp.NextPageToken = scope.Token([]byte(users[len(users)-1].Subject))
	}
	return resp, nil
}

// UpdateUser sets the roles of a user.
func (s *Access) UpdateUser(ctx context.Context, req *accessv1.UpdateUserRequest) (*accessv1.UpdateUserResponse, error) {
	found := unprefixed(grpcserver.Validate(req), "user")
	if subject := req.GetUser().GetUser(); strings.ContainsFunc(subject, isControl) || len(subject) > maxSubject {
		found = append(found, fault.Violation{Field: "user", Description: "must be what tokens can name: printable text of at most 256 bytes"})
	}
	if err := fault.Check(unique(found)...); err != nil {
		return nil, err
	}
	by, err := newCaller(ctx, methodUpdateUser, req)
	if err != nil {
		return nil, err
	}
	ids := make([]tenant.RoleID, len(req.GetUser().GetRoleIds()))
	for i, id := range req.GetUser().GetRoleIds() {
		ids[i] = roleID(id)
	}
	user, err := s.admin.UpdateUser(ctx, by, req.GetUser().GetUser(), ids)
	if err != nil {
		return nil, err
	}
	return &accessv1.UpdateUserResponse{User: userMessage(user)}, nil
}

func userMessage(m tenant.Member) *accessv1.User {
	u := &accessv1.User{User: m.Subject}
	for _, r := range m.Roles {
		u.RoleIds = append(u.RoleIds, string(r.ID))
		u.Roles = append(u.Roles, r.Title)
	}
	return u
}
