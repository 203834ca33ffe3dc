package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// SearchAudit asks for one page of the audit trail, by the parameters that the API
// names, and reads it into page; administrators only.
func (c *Client) SearchAudit(ctx context.Context, query url.Values, page any) error {
	res, err := c.get(ctx, c.http, "/api/v1/audit", query)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxTrail+1))
	if err != nil || len(b) > maxTrail {
		return unreachable(c.base, err)
	}
	if err := json.Unmarshal(b, page); err != nil {
		return notCarnet(c.base, res.StatusCode, err)
	}
	return nil
}

// maxTrail bounds a page of the audit trail: 1000 records of 32 KiB.
const maxTrail = 64 << 20

// silence is how long an export may send nothing.
const silence = 2 * time.Minute

// ExportAudit writes the events that are found to w, as JSON lines, oldest first, and
// gives how many bytes there were. It may take hours. An export that was cut off in
// the middle is an error; what w got is the beginning of it.
func (c *Client) ExportAudit(ctx context.Context, query url.Values, w io.Writer) (int64, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	alarm := time.AfterFunc(silence, func() {
		stop(fault.Coded(fault.Unavailable, "server.silent", fmt.Sprintf("the server sent nothing for %v", silence)).WithMend("try again"))
	})
	defer alarm.Stop()
	patient := *c.http
	patient.Timeout = 0
	res, err := c.get(ctx, &patient, "/api/v1/audit/export", query)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	b := make([]byte, 64<<10)
	for written := int64(0); ; {
		n, err := res.Body.Read(b)
		alarm.Reset(silence)
		if n > 0 {
			if _, err := w.Write(b[:n]); err != nil {
				return written, err
			}
			written += int64(n)
		}
		switch {
		case err == io.EOF:
			return written, nil
		case err != nil && context.Cause(ctx) != nil:
			return written, context.Cause(ctx)
		case err != nil:
			return written, fault.Wrap(err, fault.Unavailable, "the export ended before its end").WithCode("audit.cut").WithMend("try again; the server's log says why")
		}
	}
}

// get sends a request without a body, and gives its answer where it is no refusal.
func (c *Client) get(ctx context.Context, by *http.Client, path string, query url.Values) (*http.Response, error) {
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the request could not be made")
	}
	req.Header.Set("Accept", "application/json, application/jsonl, application/problem+json")
	if !c.token.IsZero() {
		req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	res, err := by.Do(req)
	if err != nil {
		return nil, unreachable(c.base, err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, unreachable(c.base, err)
	}
	return nil, problem(c.base, res, b)
}
