package job

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a job's tags. Together they have at most MaxTags * (MaxTagKey + 4*MaxTagValue) bytes: 9,216.
const (
	MaxTags     = 16  // of a job
	MaxTagKey   = 64  // characters, which are bytes
	MaxTagValue = 128 // characters, at most 512 bytes
	// MaxTagFilters is how many tags a list, or a count, may ask for at a time.
	MaxTagFilters = 4
)

// Tags are what a submitter has attached to a job, so that it finds it by them: by key. They never change.
type Tags map[string]string

// Validate checks the number of the tags, their keys and their values. The error says for people which is wrong.
func (t Tags) Validate() error {
	if len(t) > MaxTags {
		return fmt.Errorf("a job has at most %d tags, not %d", MaxTags, len(t))
	}
	for key, value := range t {
		if ValidateTag(key, value) != nil {
			return t.problem()
		}
	}
	return nil
}

// problem is what is wrong with the first tag, by key, that is.
func (t Tags) problem() error {
	for _, key := range slices.Sorted(maps.Keys(t)) {
		if err := ValidateTag(key, t[key]); err != nil {
			return err
		}
	}
	return nil
}

// ValidateTag checks one tag.
func ValidateTag(key, value string) error {
	switch {
	case !validTagKey(key):
		return fmt.Errorf("the key %.80q is not 1 to %d of the characters A-Z a-z 0-9 . _ -", key, MaxTagKey)
	case value == "":
		return fmt.Errorf("the value of %s is empty", key)
	case !Bounded(value, MaxTagValue):
		return fmt.Errorf("the value of %s has more than %d characters", key, MaxTagValue)
	case !utf8.ValidString(value):
		return fmt.Errorf("the value of %s is not UTF-8", key)
	case strings.ContainsFunc(value, unicode.IsControl):
		return fmt.Errorf("the value of %s has a control character", key)
	}
	return nil
}

// validTagKey reports whether s can be a tag's key: 1 to 64 of the characters A-Z a-z 0-9 . _ -.
func validTagKey(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return s != "" && len(s) <= MaxTagKey
}

var errTagForm = errors.New("is not key:value")

// ParseTag reads a tag as filters have it: key:value. The value may have colons itself.
func ParseTag(s string) (key, value string, err error) {
	key, value, found := strings.Cut(s, ":")
	if !found {
		return "", "", errTagForm
	}
	return key, value, ValidateTag(key, value)
}
