// Package gatewaykeys keeps gateway keys and prefix grants in SQL. A key is rolled
// once; what can't be read is an error, never left out, so that nobody is bound to
// less than was written.
package gatewaykeys

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/gatewaykeys"
)

// Topic is raised when a key or a grant changes.
const Topic = "gateway-key"

// Store is every store interface of service/gatewaykeys on a database.
type Store struct{ DB *sql.DB }

var (
	_ gatewaykeys.Keys   = Store{}
	_ gatewaykeys.Grants = Store{}
)

// Watch calls changed after every change by any server.
func (s Store) Watch(ctx context.Context, changed func()) error {
	return s.DB.Watch(ctx, Topic, changed)
}

const keyColumns = `id, access_key_id, sealed, login_session, delegation, service_principal, person, idp, name, cluster, networks, certificates, roles, default_role, delivered, follows, made, expires, revoked, used, epoch, attachment, node`

// AddKey stores a new key, and lets the one that it follows end.
func (s Store) AddKey(ctx context.Context, k gatewaykeys.Stored, ends time.Time, most int) error {
	networks, certificates, err := bindingText(k.Binding)
	if err != nil {
		return err
	}
	roles := make([]string, len(k.Roles))
	for i, r := range k.Roles {
		roles[i] = r.String()
	}
	rolesText, err := json.Marshal(roles)
	if err != nil {
		return err
	}
	fallback := ""
	if !k.Default.IsZero() {
		fallback = k.Default.String()
	}
	o := k.Owner
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		var have int
		if err := t.QueryRow(`SELECT COUNT(*) FROM gateway_key WHERE login_session = $1 AND delegation = $2 AND service_principal = $3 AND expires > $4 AND revoked = 0`,
			o.LoginSession, o.Delegation, o.ServicePrincipal, k.Made.UnixMilli()).Scan(&have); err != nil {
			return err
		}
		if have >= most {
			return fault.Coded(fault.Conflict, "gateway-key.most", fmt.Sprintf("there are %d gateway keys of this owner already, the most that there can be", have)).
				WithMend("revoke those that nobody needs: carnet gateway-key list")
		}
		t.Changed(Topic)
		if k.Follows != "" {
			if _, err := t.Exec(`UPDATE gateway_key SET expires = $2 WHERE id = $1 AND expires > $2`, k.Follows, ends.UnixMilli()); err != nil {
				return err
			}
		}
		_, err := t.Exec(`INSERT INTO gateway_key (`+keyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)`,
			k.ID, k.AccessKeyID, k.Sealed, o.LoginSession, o.Delegation, o.ServicePrincipal, o.Person, o.IdP, o.Name, k.Cluster, networks, certificates,
			string(rolesText), fallback, number(k.Delivered), k.Follows, k.Made.UnixMilli(), k.Expires.UnixMilli(), milli(k.Revoked), milli(k.Used), int64(k.Epoch), k.Attachment, k.Node)
		return err
	})
	if sql.IsDuplicate(err) {
		return fault.Coded(fault.Conflict, "gateway-key.rolled", fmt.Sprintf("the gateway key %s was rolled already", k.Follows)).
			WithMend("roll the one that follows it: carnet gateway-key list")
	}
	return err
}

// RevokeKey marks a key.
func (s Store) RevokeKey(ctx context.Context, id identity.GatewayKeyID, at time.Time) (bool, error) {
	return s.mark(ctx, `UPDATE gateway_key SET revoked = $2 WHERE id = $1 AND revoked = 0`, id, at.UnixMilli())
}

// UseKey notes the first use. Other servers need not hear of it.
func (s Store) UseKey(ctx context.Context, id identity.GatewayKeyID, at time.Time) (first bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(`UPDATE gateway_key SET used = $2 WHERE id = $1 AND used = 0`, id, at.UnixMilli())
		first = n == 1
		return err
	})
	return first, err
}

// mark changes one row at most, and tells of it.
func (s Store) mark(ctx context.Context, query string, args ...any) (done bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(query, args...)
		if done = n == 1; done {
			t.Changed(Topic)
		}
		return err
	})
	return done, err
}

// Keys gives the keys that end after a time.
func (s Store) Keys(ctx context.Context, after time.Time) (all []gatewaykeys.Stored, err error) {
	since := int64(0)
	if !after.IsZero() {
		since = after.UnixMilli()
	}
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT `+keyColumns+` FROM gateway_key WHERE expires > $1 ORDER BY made, id`, []any{since}, func(scan func(...any) error) error {
			k, err := scanKey(scan)
			all = append(all, k)
			return err
		})
	})
	return all, err
}

func scanKey(scan func(...any) error) (k gatewaykeys.Stored, err error) {
	var networks, certificates, roles, fallback string
	var delivered, made, expires, revoked, used, epoch int64
	o := &k.Owner
	if err := scan(&k.ID, &k.AccessKeyID, &k.Sealed, &o.LoginSession, &o.Delegation, &o.ServicePrincipal, &o.Person, &o.IdP, &o.Name, &k.Cluster, &networks, &certificates,
		&roles, &fallback, &delivered, &k.Follows, &made, &expires, &revoked, &used, &epoch, &k.Attachment, &k.Node); err != nil {
		return k, err
	}
	k.Delivered, k.Epoch = delivered == 1, uint64(epoch)
	k.Made, k.Expires, k.Revoked, k.Used = at(made), at(expires), at(revoked), at(used)
	if k.Binding, err = binding(networks, certificates); err != nil {
		return k, fmt.Errorf("gateway key %s: %w", k.ID, err)
	}
	var names []string
	if err := json.Unmarshal([]byte(roles), &names); err != nil {
		return k, fmt.Errorf("gateway key %s: %w", k.ID, err)
	}
	for _, n := range names {
		r, err := arn.ParseRole(n)
		if err != nil {
			return k, fmt.Errorf("gateway key %s: %w", k.ID, err)
		}
		k.Roles = append(k.Roles, r)
	}
	if fallback != "" {
		k.Default, err = arn.ParseRole(fallback)
	}
	return k, err
}

// SweepKeys deletes the keys that ended before a time.
func (s Store) SweepKeys(ctx context.Context, before time.Time) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		_, err := t.Exec(`DELETE FROM gateway_key WHERE expires < $1`, before.UnixMilli())
		return err
	})
}

// AddGrant stores a prefix grant.
func (s Store) AddGrant(ctx context.Context, g gatewaykeys.Grant) error {
	err := s.DB.Write(ctx, func(t *sql.Tx) error {
		t.Changed(Topic)
		_, err := t.Exec(`INSERT INTO prefix_grant (id, bucket, prefix, role, made) VALUES ($1, $2, $3, $4, $5)`, g.ID, g.Bucket, g.Prefix, g.Role.String(), g.Made.UnixMilli())
		return err
	})
	if sql.IsDuplicate(err) {
		return fault.Wrap(err, fault.Conflict, g.Place()+" is granted to "+g.Role.String()+" already").WithCode("prefix-grant.there")
	}
	return err
}

// RemoveGrant deletes a prefix grant.
func (s Store) RemoveGrant(ctx context.Context, id identity.PrefixGrantID) (bool, error) {
	return s.mark(ctx, `DELETE FROM prefix_grant WHERE id = $1`, id)
}

// Grants gives all prefix grants.
func (s Store) Grants(ctx context.Context) (all []gatewaykeys.Grant, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT id, bucket, prefix, role, made FROM prefix_grant ORDER BY bucket, prefix, role`, nil, func(scan func(...any) error) error {
			var g gatewaykeys.Grant
			var role string
			var made int64
			if err := scan(&g.ID, &g.Bucket, &g.Prefix, &role, &made); err != nil {
				return err
			}
			var err error
			if g.Role, err = arn.ParseRole(role); err != nil {
				return fmt.Errorf("prefix grant %s: %w", g.ID, err)
			}
			g.Made = at(made)
			all = append(all, g)
			return nil
		})
	})
	return all, err
}

func bindingText(b gatewaykeys.Binding) (networks, certificates string, err error) {
	list := make([]string, len(b.Certificates))
	for i, f := range b.Certificates {
		list[i] = f.String()
	}
	n, err := json.Marshal(append([]netip.Prefix{}, b.Networks...))
	if err != nil {
		return "", "", err
	}
	c, err := json.Marshal(list)
	return string(n), string(c), err
}

func binding(networks, certificates string) (b gatewaykeys.Binding, err error) {
	if err := json.Unmarshal([]byte(networks), &b.Networks); err != nil {
		return b, err
	}
	var list []string
	if err := json.Unmarshal([]byte(certificates), &list); err != nil {
		return b, err
	}
	for _, text := range list {
		raw, err := hex.DecodeString(text)
		if err != nil || len(raw) != len(gatewaykeys.Fingerprint{}) {
			return b, fmt.Errorf("%q is not a fingerprint", text)
		}
		b.Certificates = append(b.Certificates, gatewaykeys.Fingerprint(raw))
	}
	if len(b.Networks) == 0 {
		b.Networks = nil
	}
	return b, nil
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
