package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/keyfile"
	"github.com/ackwire/ackwire/schemas/frame"
)

// GrantCmd prints a grant.
type GrantCmd struct {
	Flags  `embed:""`
	IDs    []string      `arg:"" optional:"" name:"jobid" help:"IDs of the jobs that the grant opens, up to 100."`
	Type   []string      `help:"Job types whose jobs the grant opens. With job IDs, too: those of these jobs that are of one of the types." placeholder:"TYPE"`
	Permit []string      `help:"What the grant permits, such as read or cancel; by default read." placeholder:"PERMISSION"`
	TTL    time.Duration `name:"ttl" help:"Time for which the grant is valid, at most 24h." default:"10m"`

	KeyFile  string `name:"grant-key-file" help:"Make the grant by this key of the gateways, without asking a server." placeholder:"FILE"`
	Tenant   string `help:"With grant-key-file: the tenant of the jobs." placeholder:"TENANT"`
	Subject  string `help:"With grant-key-file: the user whose jobs the grant opens." placeholder:"SUBJECT"`
	Audience string `help:"With grant-key-file: the gateways' jwt-audience." default:"ackwire"`
}

// Help returns the text that kong prints below the flags.
func (c *GrantCmd) Help() string {
	return "A grant is a token that opens some jobs only: a page can follow its job with it, and do nothing else. It " +
		"permits no more than the token with which it is made. " + queryHelp
}

const maxGrantKeys = 2 // lines of a grant-key-file

// Run implements the command.
func (c *GrantCmd) Run(env *Env) error {
	g, err := c.grant(env)
	if err != nil {
		return err
	}
	if c.JSON {
		return c.print(env, frame.Grant{Token: g.Token, ExpiresAt: g.Expires.UTC()})
	}
	fmt.Fprintln(env.Stdout, clean(g.Token))
	return nil
}

func (c *GrantCmd) grant(env *Env) (ackwire.Grant, error) {
	request := ackwire.GrantRequest{Jobs: c.IDs, Types: c.Type, Permissions: c.Permit, TTL: c.TTL}
	if c.KeyFile == "" {
		g, err := query(env, &c.Flags, func(ctx context.Context, api *ackwire.HTTPClient) (ackwire.Grant, error) {
			return api.Grant(ctx, request)
		})
		if err != nil {
			return g, c.queryError(env, err)
		}
		return g, nil
	}
	keys, err := keyfile.Read(c.KeyFile, maxGrantKeys)
	switch {
	case err != nil:
		return ackwire.Grant{}, refused(fmt.Errorf("grant-key-file: %w", err))
	case len(keys) == 0:
		return ackwire.Grant{}, refused(errors.New("grant-key-file: it has no key"))
	}
	g, err := ackwire.GrantKey{Secret: keys[0], Audience: c.Audience}.Grant(c.Tenant, c.Subject, request)
	if err != nil {
		return g, refused(err)
	}
	return g, nil
}
