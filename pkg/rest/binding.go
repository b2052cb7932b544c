package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"workflow.uniconnect/pkg/fault"
)

// binding is a method's HTTP rule.
type binding struct {
	method, template string
	// body is the field that the body holds, `*` for all that the path does not, or empty.
	body string
	// answer is the field of the response that the answer holds; empty means the response itself.
	answer protoreflect.Name
}

// bindingOf finds the rule of a method, named as gRPC names it: /package.Service/Method.
func bindingOf(fullMethod string) (*binding, error) {
	service, name, _ := strings.Cut(strings.TrimPrefix(fullMethod, "/"), "/")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil, fmt.Errorf("find service %s: %w", service, err)
	}
	sd, ok := d.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil, fmt.Errorf("%s is not a service", service)
	}
	md := sd.Methods().ByName(protoreflect.Name(name))
	if md == nil {
		return nil, fmt.Errorf("service %s has no method %s", service, name)
	}
	rule, ok := proto.GetExtension(md.Options(), annotations.E_Http).(*annotations.HttpRule)
	if !ok || rule == nil || md.IsStreamingClient() {
		return nil, fault.Unimplemented(fault.ReasonUnknownMethod, fullMethod+" cannot be called over REST")
	}
	b := &binding{body: rule.GetBody(), answer: protoreflect.Name(rule.GetResponseBody())}
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		b.method, b.template = http.MethodGet, p.Get
	case *annotations.HttpRule_Post:
		b.method, b.template = http.MethodPost, p.Post
	case *annotations.HttpRule_Put:
		b.method, b.template = http.MethodPut, p.Put
	case *annotations.HttpRule_Patch:
		b.method, b.template = http.MethodPatch, p.Patch
	case *annotations.HttpRule_Delete:
		b.method, b.template = http.MethodDelete, p.Delete
	default:
		return nil, fmt.Errorf("the rule of %s is of no known kind", fullMethod)
	}
	return b, nil
}

// encode writes a request as path with query, and body. Fields that headers names are written there. The request is not changed.
func (b *binding) encode(request proto.Message, headers map[protoreflect.Name]string, header http.Header) (string, []byte, error) {
	rest := proto.Clone(request).ProtoReflect()
	for field, name := range headers {
		fd := rest.Descriptor().Fields().ByName(field)
		if fd != nil && fd.Kind() == protoreflect.StringKind && !fd.IsList() && rest.Has(fd) {
			header.Set(name, rest.Get(fd).String())
			rest.Clear(fd)
		}
	}
	path, err := b.path(rest)
	if err != nil {
		return "", nil, err
	}
	body, err := b.takeBody(rest)
	if err != nil {
		return "", nil, err
	}
	query := url.Values{}
	if err := addQuery(query, "", rest); err != nil {
		return "", nil, err
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path, body, nil
}

// path fills the template and clears what it took.
func (b *binding) path(m protoreflect.Message) (string, error) {
	var out strings.Builder
	for i, part := range strings.Split(b.template, "{") {
		if i == 0 {
			out.WriteString(part)
			continue
		}
		variable, rest, _ := strings.Cut(part, "}")
		name, _, _ := strings.Cut(variable, "=")
		value, err := takePath(m, name)
		if err != nil {
			return "", err
		}
		out.WriteString(url.PathEscape(value) + rest)
	}
	return out.String(), nil
}

// takePath returns the field that a dotted name leads to, as text, and clears it.
func takePath(m protoreflect.Message, name string) (string, error) {
	parts := strings.Split(name, ".")
	for _, part := range parts[:len(parts)-1] {
		fd := m.Descriptor().Fields().ByName(protoreflect.Name(part))
		if fd == nil || fd.Message() == nil || fd.IsList() || fd.IsMap() {
			return "", fmt.Errorf("the path names %s, which is no field of a message", name)
		}
		m = m.Mutable(fd).Message()
	}
	fd := m.Descriptor().Fields().ByName(protoreflect.Name(parts[len(parts)-1]))
	if fd == nil || fd.Message() != nil || fd.IsList() {
		return "", fmt.Errorf("the path names %s, which is no field of a simple type", name)
	}
	value := scalarText(fd, m.Get(fd))
	if value == "" {
		return "", fault.Invalid(fault.Violation{Field: name, Description: "must be given"})
	}
	m.Clear(fd)
	return value, nil
}

// takeBody writes the body and clears what is in it.
func (b *binding) takeBody(m protoreflect.Message) ([]byte, error) {
	switch b.body {
	case "":
		return nil, nil
	case "*":
		body, err := protojson.Marshal(m.Interface())
		for fd := range m.Range {
			m.Clear(fd)
		}
		return body, err
	}
	fd := m.Descriptor().Fields().ByName(protoreflect.Name(b.body))
	if fd == nil || fd.Message() == nil || fd.IsList() || fd.IsMap() {
		return nil, fmt.Errorf("the body is %s, which is no message of the request", b.body)
	}
	body, err := protojson.Marshal(m.Get(fd).Message().Interface())
	m.Clear(fd)
	return body, err
}

// addQuery adds what is set as parameters, nested fields with dots.
func addQuery(query url.Values, prefix string, m protoreflect.Message) error {
	for fd, v := range m.Range {
		name := prefix + fd.JSONName()
		switch {
		case fd.IsMap():
			return fmt.Errorf("%s is a map, which no query holds", name)
		case fd.IsList():
			if fd.Message() != nil {
				return fmt.Errorf("%s is a list of messages, which no query holds", name)
			}
			for i := range v.List().Len() {
				query.Add(name, scalarText(fd, v.List().Get(i)))
			}
		case fd.Message() == nil:
			query.Set(name, scalarText(fd, v))
		case fd.Message().FullName() == "google.protobuf.FieldMask":
			query.Set(name, maskText(v.Message()))
		case fd.Message().ParentFile().Package() == "google.protobuf":
			text, err := wellKnownText(v.Message().Interface())
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			query.Set(name, text)
		default:
			if err := addQuery(query, name+".", v.Message()); err != nil {
				return err
			}
		}
	}
	return nil
}

func scalarText(fd protoreflect.FieldDescriptor, v protoreflect.Value) string {
	if fd.Kind() == protoreflect.EnumKind {
		if name := fd.Enum().Values().ByNumber(v.Enum()); name != nil {
			return string(name.Name())
		}
	}
	return fmt.Sprint(v.Interface())
}

// maskText writes a mask with the names of the proto, as servers keep them.
func maskText(mask protoreflect.Message) string {
	paths := mask.Get(mask.Descriptor().Fields().ByName("paths")).List()
	all := make([]string, paths.Len())
	for i := range all {
		all[i] = paths.Get(i).String()
	}
	return strings.Join(all, ",")
}

// wellKnownText returns the JSON form of a time, a duration or a wrapped value without its quotes.
func wellKnownText(m proto.Message) (string, error) {
	encoded, err := protojson.Marshal(m)
	if err != nil {
		return "", err
	}
	var text string
	if json.Unmarshal(encoded, &text) == nil {
		return text, nil
	}
	return string(encoded), nil
}

// decode reads an answer, or one line of a stream.
func (b *binding) decode(body []byte, contentType string, reply proto.Message) error {
	target := reply.ProtoReflect()
	if b.answer != "" {
		fd := target.Descriptor().Fields().ByName(b.answer)
		if fd == nil || fd.Message() == nil || fd.IsList() || fd.IsMap() {
			return fmt.Errorf("the answer is %s, which is no message of the response", b.answer)
		}
		target = target.Mutable(fd).Message()
	}
	if document, ok := target.Interface().(*httpbody.HttpBody); ok {
		document.ContentType, document.Data = contentType, body
		return nil
	}
	if media, _, err := mime.ParseMediaType(contentType); err != nil || media != "application/json" && media != mediaLines {
		return notOurs(errors.New("the answer is " + contentType + " and not JSON"))
	}
	// A newer server may say more than is known here.
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, target.Interface()); err != nil {
		return notOurs(err)
	}
	return nil
}

// notOurs answers for a server that does not speak our REST.
func notOurs(cause error) error {
	return fault.Internal(fault.ReasonInternal, "the answer cannot be read; is this the address of the gateway?").WithCause(cause)
}
