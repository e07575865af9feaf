package processor

import "slices"

// Security has the settings that encrypt connections to Kafka and that authenticate this process. They are those of the
// commands: CAFile is --kafka-tls-ca, User is --kafka-user, and so on.
//
// Secrets are only in files. Files are read again for new connections, so a password or a certificate can be replaced
// while the process runs.
type Security struct {
	// TLS makes connections to Kafka use TLS 1.2 or later.
	TLS bool
	// CAFile is a PEM file with the certificate authorities that sign the brokers' certificates. Default: those of the
	// system.
	CAFile string
	// CertFile and KeyFile are PEM files with the certificate by which this process authenticates to Kafka, and with its
	// private key.
	CertFile, KeyFile string
	// ServerName is the name that the brokers' certificates must have. Default: the host of each broker's address.
	ServerName string

	// SASL is how this process authenticates to Kafka: plain, scram-sha-256, scram-sha-512, oauthbearer or aws-msk-iam.
	// The last needs the import of github.com/ackwire/ackwire/mskiam, which contains AWS's SDK.
	SASL string
	// User is the user name for plain and scram, and PasswordFile the file with its password in one line.
	User, PasswordFile string

	// OAuthTokenURL is the token endpoint from which oauthbearer gets its tokens with client credentials (RFC 6749, 4.4).
	OAuthTokenURL string
	// OAuthClientID is the client's ID for the token endpoint, and OAuthSecretFile the file with its secret in one line.
	OAuthClientID, OAuthSecretFile string
	// OAuthScopes are the scopes to ask the token endpoint for.
	OAuthScopes []string
	// OAuthAudience is the audience to ask the token endpoint for, where it wants one.
	OAuthAudience string
	// OAuthCAFile is a PEM file with the certificate authorities that sign the token endpoint's certificate. Default:
	// those of the system.
	OAuthCAFile string
	// OAuthTokenFile is a file with the token for oauthbearer, instead of a token endpoint.
	OAuthTokenFile string
	// OAuthExtensions are SASL extensions that oauthbearer sends, NAME=VALUE each.
	OAuthExtensions []string

	// IAMRole is the ARN of the role that aws-msk-iam assumes. Default: the credentials that AWS's default chain finds are
	// used as they are.
	IAMRole string
}

// clone copies the slices.
func (s Security) clone() Security {
	s.OAuthScopes, s.OAuthExtensions = slices.Clone(s.OAuthScopes), slices.Clone(s.OAuthExtensions)
	return s
}
