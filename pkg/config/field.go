package config

import (
	"encoding"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"strconv"
	"strings"
)

// secrecy says where a setting may come from.
type secrecy uint8

const (
	notSecret  secrecy = iota
	secretURL          // a URL that may hold a password: not on the command line, where every user of the machine can read it
	secretOnly         // never a flag
)

// field is one setting as its tags describe it.
type field struct {
	value        reflect.Value
	env, flag    string
	def, help    string
	form         string
	minVal, maxV string
	secret       secrecy
}

func fieldsOf(s *Settings) []field {
	v := reflect.ValueOf(s).Elem()
	all := make([]field, 0, v.NumField())
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		f := field{
			value: v.Field(i), env: tag.Get("env"), def: tag.Get("default"), help: tag.Get("help"),
			form: tag.Get("form"), minVal: tag.Get("min"), maxV: tag.Get("max"),
		}
		f.flag = strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(f.env, "UC_")), "_", "-")
		switch tag.Get("secret") {
		case "true":
			f.secret = secretOnly
		case "url":
			f.secret = secretURL
		}
		all = append(all, f)
	}
	return all
}

func (f *field) isBool() bool { return f.value.Kind() == reflect.Bool }

// pick returns the value that counts and the name under which it came, for errors.
func (f *field) pick(flags, env map[string]string) (value, source string, err error) {
	file := f.env + "_FILE"
	switch {
	case flags[f.flag] != "":
		value = flags[f.flag]
		if f.secret == secretURL && hasPassword(value) {
			return "", "--" + f.flag, fmt.Errorf("a password is visible to every user of the machine here; use %s or %s", f.env, file)
		}
		return value, "--" + f.flag, nil
	case f.secret != notSecret && env[f.env] != "" && env[file] != "":
		return "", f.env, fmt.Errorf("is set together with %s", file)
	case env[f.env] != "":
		return env[f.env], f.env, nil
	case f.secret != notSecret && env[file] != "":
		return env[file], file, nil
	}
	return f.def, f.env, nil
}

func hasPassword(text string) bool {
	if u, err := url.Parse(text); err == nil && u.Scheme != "" {
		_, inUser := u.User.Password()
		return inUser || u.Query().Has("password")
	}
	return strings.Contains(text, "password")
}

// set parses text into the struct.
func (f *field) set(text string) error {
	if u, ok := f.value.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			return fmt.Errorf("%q is not one of: %s", text, f.help)
		}
		return nil
	}
	switch f.value.Kind() {
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		f.value.SetBool(b)
	case reflect.Int:
		return f.setInt(text)
	case reflect.Slice:
		return f.setList(text)
	default:
		if err := f.checkForm(text); err != nil {
			return err
		}
		f.value.SetString(text)
	}
	return nil
}

func (f *field) setInt(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("%q is not a whole number", text)
	}
	low, lowErr := strconv.Atoi(f.minVal)
	high, highErr := strconv.Atoi(f.maxV)
	if lowErr != nil || highErr != nil {
		return errors.New("the setting declares no range")
	}
	if n < low || n > high {
		return fmt.Errorf("%d is not between %d and %d", n, low, high)
	}
	f.value.SetInt(int64(n))
	return nil
}

func (f *field) setList(text string) error {
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		if f.form == "names" {
			items = append(items, item)
			continue
		}
		if _, err := netip.ParsePrefix(item); err != nil {
			if addrErr := checkAddr(item); addrErr != nil {
				return fmt.Errorf("%q is neither host:port nor a CIDR", item)
			}
		}
		items = append(items, item)
	}
	f.value.Set(reflect.ValueOf(items))
	return nil
}

func (f *field) checkForm(text string) error {
	switch f.form {
	case "addr":
		return checkAddr(text)
	case "origin":
		return checkOrigin(text)
	case "peer":
		for addr := range strings.SplitSeq(text, ",") {
			if err := checkAddr(addr); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkAddr(text string) error {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return fmt.Errorf("%q is not host:port", text)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q has no port between 0 and 65535", text)
	}
	return nil
}

// flagValue collects the text of a flag; parsing is the field's, as for the environment.
type flagValue struct {
	values map[string]string
	name   string
	isBool bool
}

func (v *flagValue) String() string { return "" }

func (v *flagValue) Set(text string) error {
	v.values[v.name] = text
	return nil
}

// IsBoolFlag lets --dev stand without a value.
func (v *flagValue) IsBoolFlag() bool { return v.isBool }
