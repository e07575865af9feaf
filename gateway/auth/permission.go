package auth

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Permissions is a set of permissions of a client.
type Permissions uint8

// The permissions.
const (
	Submit Permissions = 1 << iota // submit jobs, and retry them
	Read                           // get, list, count and watch jobs, and read their results
	Cancel                         // cancel jobs
	Admin                          // requests that concern the whole tenant; "admin" includes all others

	// Client is the default set of permissions of a token that lists none.
	Client = Submit | Read | Cancel
)

var permissionNames = map[string]Permissions{"submit": Submit, "read": Read, "cancel": Cancel, "admin": Admin | Client}

// Has reports whether p includes all permissions in asked.
func (p Permissions) Has(asked Permissions) bool { return p&asked == asked }

// String returns the permissions' names, separated by spaces.
func (p Permissions) String() string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(permissionNames)) {
		if p.Has(permissionNames[name]) {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// ParsePermissions reads names separated by spaces, commas or plus signs.
func ParsePermissions(s string) (p Permissions, err error) {
	for name := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ' ' || r == ',' || r == '+' }) {
		one, ok := permissionNames[name]
		if !ok {
			return 0, fmt.Errorf("%q is not one of the permissions %s", name,
				strings.Join(slices.Sorted(maps.Keys(permissionNames)), ", "))
		}
		p |= one
	}
	return p, nil
}
