package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const keyBytes = 32

var errSeal = errors.New("not sealed by this gateway")

// sealer encrypts cookies, each for one purpose: what was made to be one cookie is refused as another.
type sealer struct{ keys []cipher.AEAD }

// openSealer reads the keys: lines of 32 bytes in base64. The first seals, all of them open, so that a key can be replaced while sessions
// last. A file that does not exist is made.
func openSealer(path string) (*sealer, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeKey(path); err != nil {
			return nil, fmt.Errorf("make the session key: %w", err)
		}
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the session key: %w", err)
	}
	s := &sealer{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(key) != keyBytes {
			return nil, fmt.Errorf("read the session key: line %d of %s is not %d bytes in base64", len(s.keys)+1, path, keyBytes)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, err
		}
		s.keys = append(s.keys, aead)
	}
	if len(s.keys) == 0 {
		return nil, fmt.Errorf("read the session key: %s is empty", path)
	}
	return s, nil
}

// makeKey writes a whole key under another name and links it into place: of several processes that start together the first wins, and
// nobody reads half a key.
func makeKey(path string) error {
	key := make([]byte, keyBytes)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // the data directory, which other users must pass through
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // made with mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		if err = os.Link(tmp.Name(), path); errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	return errors.Join(err, os.Remove(tmp.Name()))
}

func (s *sealer) seal(purpose string, v any) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("seal %s: %w", purpose, err)
	}
	sealed := s.keys[0].Seal(nil, nil, text, []byte(purpose)) //nolint:gosec // the cipher makes a random nonce itself
	return base64.RawURLEncoding.EncodeToString(sealed), nil
}

func (s *sealer) open(purpose, sealed string, v any) error {
	if len(sealed) > maxCookie {
		return errSeal
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil {
		return errSeal
	}
	for _, key := range s.keys {
		if text, err := key.Open(nil, nil, raw, []byte(purpose)); err == nil {
			return json.Unmarshal(text, v)
		}
	}
	return errSeal
}
