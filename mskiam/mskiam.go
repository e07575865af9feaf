// Package mskiam lets processes authenticate to Amazon MSK by IAM (--kafka-sasl aws-msk-iam, or SASL "aws-msk-iam" in
// processor.Security). Import it for its side effect:
//
//	import _ "github.com/ackwire/ackwire/mskiam"
//
// Gateway, tracker and processor have it. It contains AWS's SDK, which finds the credentials: in the environment, the
// shared files and profiles, a web identity, a container's endpoint, or the metadata of the instance.
package mskiam

import (
	"context"
	"fmt"
	"sync"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/twmb/franz-go/pkg/sasl/aws"

	"github.com/ackwire/ackwire/internal/kafka"
)

// session is the name under which this process assumes a role.
const session = "ackwire"

func init() { kafka.RegisterIAM(credentials) }

// credentials returns a function that gives the credentials of AWS's default chain, or those of a role which they may
// assume. The SDK renews them before they expire.
func credentials(role string) kafka.IAMCredentials {
	c := &chain{role: role}
	return c.get
}

// chain finds credentials. It asks for the configuration at the first use, and again after an error.
type chain struct {
	role string

	mu       sync.Mutex // guards provider
	provider awssdk.CredentialsProvider
}

func (c *chain) get(ctx context.Context) (aws.Auth, error) {
	provider, err := c.find(ctx)
	if err != nil {
		return aws.Auth{}, fmt.Errorf("configuration of AWS: %w", err)
	}
	found, err := provider.Retrieve(ctx)
	switch {
	case err != nil && c.role != "":
		return aws.Auth{}, fmt.Errorf("credentials of AWS for kafka-iam-role %s: %w", c.role, err)
	case err != nil:
		return aws.Auth{}, fmt.Errorf("credentials of AWS (kafka-sasl=aws-msk-iam): %w", err)
	}
	return aws.Auth{
		AccessKey: found.AccessKeyID, SecretKey: found.SecretAccessKey, SessionToken: found.SessionToken,
		UserAgent: session,
	}, nil
}

func (c *chain) find(ctx context.Context) (awssdk.CredentialsProvider, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.provider != nil {
		return c.provider, nil
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, err
	}
	c.provider = cfg.Credentials
	if c.role != "" {
		c.provider = awssdk.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), c.role,
			func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = session }))
	}
	return c.provider, nil
}
