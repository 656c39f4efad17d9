package s3_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

var codePattern = regexp.MustCompile(`<Code>(.*?)</Code>`)

// raw sends a request signed by account n (-1: by nobody), and gives status, error code and body.
func (c *cloud) raw(t testing.TB, n int, method, path, body string, header ...string) (int, string, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if n >= 0 {
		sigv4.Sign(r, sigv4.Credentials{AccessKeyID: c.keys[n].ID, Secret: c.keys[n].Secret}, region, "s3", sigv4.UnsignedPayload, time.Now())
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	code := ""
	if m := codePattern.FindSubmatch(text); m != nil {
		code = string(m[1])
	}
	return res.StatusCode, code, string(text)
}

func repeat(n int, text string) string { return strings.Repeat(text, n) }

// Every configuration: put, got back as it was put, refused as AWS refuses it, deleted.
func TestConfigurations(t *testing.T) {
	c := newCloud(t)
	c.bucket(t, "bkt")
	c.bucket(t, "log-target")
	hook := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(hook.Close)
	if err := c.store.Update(context.Background(), func(tx *store.Tx) error {
		account := store.Buckets.Get(tx, "bkt").AccountID
		return store.Webhooks.Put(tx, &resource.Webhook{ARN: "arn:aws:sns:us-east-1:" + account + ":hook", AccountID: account, URL: hook.URL})
	}); err != nil {
		t.Fatal(err)
	}
	account := store.Buckets.Get(c.store.Snapshot(), "bkt").AccountID
	topic := func(inner string) string {
		return "<NotificationConfiguration><TopicConfiguration><Id>a</Id><Topic>arn:aws:sns:us-east-1:" + account + ":hook</Topic>" + inner + "</TopicConfiguration></NotificationConfiguration>"
	}
	cors := func(inner string) string {
		return "<CORSConfiguration><CORSRule>" + inner + "</CORSRule></CORSConfiguration>"
	}
	rule := func(inner string) string {
		return "<LifecycleConfiguration><Rule><ID>a</ID>" + inner + "</Rule></LifecycleConfiguration>"
	}
	site := func(inner string) string { return "<WebsiteConfiguration>" + inner + "</WebsiteConfiguration>" }
	const get = "<AllowedMethod>GET</AllowedMethod>"
	const index = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>"
	for _, tt := range []struct {
		sub, body string
		code      string   // of the refusal; "" if it is to be taken
		back      []string // what GET's answer must have
	}{
		{"cors", cors(get + "<AllowedOrigin>*</AllowedOrigin><AllowedHeader>x-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>0</MaxAgeSeconds>"), "", []string{"<AllowedMethod>GET</AllowedMethod>", "<ExposeHeader>ETag</ExposeHeader>", "<MaxAgeSeconds>0</MaxAgeSeconds>"}},
		{"cors", "", "MissingRequestBodyError", nil},
		{"cors", "<CORSConfiguration/>", "MalformedXML", nil},
		{"cors", "<CORSConfiguration><Rule/></CORSConfiguration>", "MalformedXML", nil},
		{"cors", cors(get), "MalformedXML", nil},
		{"cors", cors("<AllowedMethod>PATCH</AllowedMethod><AllowedOrigin>*</AllowedOrigin>"), "InvalidRequest", nil},
		{"cors", cors(get + "<AllowedOrigin>http://*.*</AllowedOrigin>"), "InvalidRequest", nil},
		{"cors", cors(get + "<AllowedOrigin>*</AllowedOrigin><ExposeHeader>*</ExposeHeader>"), "InvalidRequest", nil},
		{"cors", "<CORSConfiguration>" + repeat(101, "<CORSRule>"+get+"<AllowedOrigin>*</AllowedOrigin></CORSRule>") + "</CORSConfiguration>", "MalformedXML", nil},

		{"website", site(index + "<ErrorDocument><Key>e/404.html</Key></ErrorDocument><RoutingRules><RoutingRule><Condition><KeyPrefixEquals>a/</KeyPrefixEquals></Condition><Redirect><ReplaceKeyPrefixWith></ReplaceKeyPrefixWith></Redirect></RoutingRule></RoutingRules>"), "", []string{"<Suffix>index.html</Suffix>", "<Key>e/404.html</Key>", "<ReplaceKeyPrefixWith></ReplaceKeyPrefixWith>"}},
		{"website", site("<RedirectAllRequestsTo><HostName>example.com</HostName><Protocol>https</Protocol></RedirectAllRequestsTo>"), "", []string{"<HostName>example.com</HostName>"}},
		{"website", site(""), "InvalidArgument", nil},
		{"website", site("<IndexDocument><Suffix>a/b</Suffix></IndexDocument>"), "InvalidArgument", nil},
		{"website", site("<RedirectAllRequestsTo><HostName>x</HostName></RedirectAllRequestsTo>" + index), "InvalidRequest", nil},
		{"website", site("<RedirectAllRequestsTo><HostName>x</HostName><Protocol>ftp</Protocol></RedirectAllRequestsTo>"), "InvalidRequest", nil},
		{"website", site(index + "<RoutingRules><RoutingRule><Redirect><HttpRedirectCode>200</HttpRedirectCode></Redirect></RoutingRule></RoutingRules>"), "InvalidRequest", nil},
		{"website", site(index + "<RoutingRules><RoutingRule><Condition><HttpErrorCodeReturnedEquals>302</HttpErrorCodeReturnedEquals></Condition><Redirect><HostName>h</HostName></Redirect></RoutingRule></RoutingRules>"), "InvalidRequest", nil},
		{"website", site(index + "<RoutingRules><RoutingRule><Redirect><ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith></Redirect></RoutingRule></RoutingRules>"), "InvalidRequest", nil},

		{"requestPayment", "<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>", "", []string{"<Payer>Requester</Payer>"}},
		{"requestPayment", "<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>", "", []string{"<Payer>BucketOwner</Payer>"}},
		{"requestPayment", "<RequestPaymentConfiguration><Payer>Nobody</Payer></RequestPaymentConfiguration>", "MalformedXML", nil},
		{"accelerate", "<AccelerateConfiguration><Status>Enabled</Status></AccelerateConfiguration>", "", []string{"<Status>Enabled</Status>"}},
		{"accelerate", "<AccelerateConfiguration><Status>On</Status></AccelerateConfiguration>", "MalformedXML", nil},

		{"logging", "<BucketLoggingStatus><LoggingEnabled><TargetBucket>log-target</TargetBucket><TargetPrefix></TargetPrefix></LoggingEnabled></BucketLoggingStatus>", "InvalidTargetBucketForLogging", nil},
		{"logging", "<BucketLoggingStatus><LoggingEnabled><TargetBucket>none</TargetBucket></LoggingEnabled></BucketLoggingStatus>", "MalformedXML", nil},
		{"logging", "<BucketLoggingStatus/>", "", []string{"<BucketLoggingStatus"}},

		{"notification", topic("<Event>s3:ObjectCreated:*</Event><Filter><S3Key><FilterRule><Name>prefix</Name><Value>a/</Value></FilterRule></S3Key></Filter>"), "", []string{"<Event>s3:ObjectCreated:*</Event>", "<Name>Prefix</Name>"}},
		{"notification", topic("<Event>s3:ObjectRestore:Post</Event>"), "InvalidArgument", nil},
		{"notification", topic("<Event>s3:*</Event><Event>*</Event>"), "InvalidArgument", nil},
		{"notification", topic(""), "MalformedXML", nil},
		{"notification", topic("<Event>s3:ObjectCreated:Put</Event><Filter><S3Key><FilterRule><Name>infix</Name><Value>a/</Value></FilterRule></S3Key></Filter>"), "InvalidArgument", nil},
		{"notification", strings.ReplaceAll(topic("<Event>s3:ObjectCreated:Put</Event>"), ":hook", ":none"), "InvalidArgument", nil},
		{"notification", strings.ReplaceAll(topic("<Event>s3:ObjectCreated:Put</Event>"), "</NotificationConfiguration>", "<TopicConfiguration><Topic>arn:aws:sns:us-east-1:"+account+":hook</Topic><Event>s3:ObjectCreated:*</Event></TopicConfiguration></NotificationConfiguration>"), "InvalidArgument", nil},
		{"notification", "<NotificationConfiguration><QueueConfiguration><Queue>arn:aws:sqs:us-east-1:1:q</Queue><Event>s3:ObjectCreated:*</Event></QueueConfiguration></NotificationConfiguration>", "InvalidArgument", nil},
		{"notification", "<NotificationConfiguration/>", "", []string{"<NotificationConfiguration"}},

		{"lifecycle", rule("<Filter><And><Prefix>a/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter><Status>Enabled</Status><Expiration><Days>3</Days></Expiration>"), "", []string{"<Days>3</Days>", "<And><Prefix>a/</Prefix>"}},
		{"lifecycle", rule("<Filter><Prefix></Prefix></Filter><Status>Disabled</Status><AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>"), "", []string{"<Filter><Prefix></Prefix></Filter>"}},
		{"lifecycle", rule("<Prefix>a</Prefix><Status>Enabled</Status>"), "InvalidRequest", nil},
		{"lifecycle", rule("<Status>Enabled</Status><Expiration><Days>3</Days></Expiration>"), "MalformedXML", nil},
		{"lifecycle", rule("<Prefix>a</Prefix><Status>enabled</Status><Expiration><Days>3</Days></Expiration>"), "MalformedXML", nil},
		{"lifecycle", rule("<Prefix>a</Prefix><Status>Enabled</Status><Expiration><Days>0</Days></Expiration>"), "InvalidArgument", nil},
		{"lifecycle", rule("<Prefix>a</Prefix><Status>Enabled</Status><Expiration><Date>2030-01-01T01:00:00Z</Date></Expiration>"), "InvalidArgument", nil},
		{"lifecycle", rule("<Prefix>a</Prefix><Status>Enabled</Status><Expiration><Days>1</Days><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"), "MalformedXML", nil},
		{"lifecycle", rule("<Prefix>a</Prefix><Status>Enabled</Status><Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>"), "NotImplemented", nil},
		{"lifecycle", rule("<Filter><And><Prefix>a/</Prefix></And></Filter><Status>Enabled</Status><Expiration><Days>3</Days></Expiration>"), "MalformedXML", nil},
		{"lifecycle", rule("<Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter><Status>Enabled</Status><AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>"), "InvalidRequest", nil},

		{"ownershipControls", "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerPreferred</ObjectOwnership></Rule></OwnershipControls>", "", []string{"<ObjectOwnership>BucketOwnerPreferred</ObjectOwnership>"}},
		{"ownershipControls", "<OwnershipControls><Rule><ObjectOwnership>Mine</ObjectOwnership></Rule></OwnershipControls>", "MalformedXML", nil},
		{"ownershipControls", "<OwnershipControls/>", "MalformedXML", nil},
		{"publicAccessBlock", "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>", "", []string{"<BlockPublicAcls>true</BlockPublicAcls>", "<RestrictPublicBuckets>false</RestrictPublicBuckets>"}},

		{"policy", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bkt/*"}]}`, "", []string{`"Principal":"*"`}},
		{"policy", `<x/>`, "MalformedPolicy", nil},
		{"policy", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::other/*"}]}`, "MalformedPolicy", nil},
		{"policy", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"ec2:*","Resource":"arn:aws:s3:::bkt/*"}]}`, "MalformedPolicy", nil},
		{"policy", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"999999999999"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::bkt/*"}]}`, "MalformedPolicy", nil},
		{"policy", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bkt/` + repeat(21000, "x") + `"}]}`, "PolicyTooLarge", nil},

		{"acl", `<AccessControlPolicy><Owner><ID>nobody</ID></Owner><AccessControlList/></AccessControlPolicy>`, "AccessDenied", nil},
		{"acl", "", "MissingSecurityHeader", nil},
	} {
		status, code, body := c.raw(t, 0, "PUT", "/bkt?"+tt.sub, tt.body)
		if code != tt.code || (code == "") != (status < 300) {
			t.Errorf("%s %.300s: %d %s, want %q: %s", tt.sub, tt.body, status, code, tt.code, body)
			continue
		}
		if tt.code != "" {
			continue
		}
		if status, code, _ := c.raw(t, 1, "PUT", "/bkt?"+tt.sub, tt.body); status != 403 || code != "AccessDenied" {
			t.Errorf("%s by another account: %d %s", tt.sub, status, code)
		}
		status, _, body = c.raw(t, 0, "GET", "/bkt?"+tt.sub, "")
		for _, want := range tt.back {
			if status != 200 || !strings.Contains(body, want) {
				t.Errorf("%s: %d %s, want %s", tt.sub, status, body, want)
			}
		}
	}
	for sub, gone := range map[string]string{
		"cors": "NoSuchCORSConfiguration", "website": "NoSuchWebsiteConfiguration", "lifecycle": "NoSuchLifecycleConfiguration", "policy": "NoSuchBucketPolicy",
		"ownershipControls": "OwnershipControlsNotFoundError", "publicAccessBlock": "NoSuchPublicAccessBlockConfiguration",
	} {
		for range 2 {
			if status, code, _ := c.raw(t, 0, "DELETE", "/bkt?"+sub, ""); status != 204 {
				t.Errorf("delete %s: %d %s", sub, status, code)
			}
		}
		if status, code, _ := c.raw(t, 0, "GET", "/bkt?"+sub, ""); status != 404 || code != gone {
			t.Errorf("get %s: %d %s, want %s", sub, status, code, gone)
		}
	}
	// The next bucket of the name begins anew.
	c.raw(t, 0, "PUT", "/bkt?cors", cors(get+"<AllowedOrigin>*</AllowedOrigin>"))
	c.raw(t, 0, "DELETE", "/bkt", "")
	for range store.BucketConfigs.All(c.store.Snapshot()) {
		t.Error("a configuration outlives its bucket")
	}
	c.bucket(t, "bkt")
	if _, code, _ := c.raw(t, 0, "GET", "/bkt?cors", ""); code != "NoSuchCORSConfiguration" {
		t.Error(code)
	}
}

// ACLs are off in new buckets, and can be on.
func TestBucketACLs(t *testing.T) {
	c := newCloud(t)
	c.bucket(t, "bkt")
	mine := store.Accounts.Get(c.store.Snapshot(), store.Buckets.Get(c.store.Snapshot(), "bkt").AccountID).CanonicalID
	var theirs string
	for a := range store.Accounts.All(c.store.Snapshot()) {
		if a.CanonicalID != mine {
			theirs = a.CanonicalID
		}
	}
	put := func(want string, header ...string) {
		t.Helper()
		if status, code, body := c.raw(t, 0, "PUT", "/bkt?acl", "", header...); code != want {
			t.Errorf("%v: %d %s, want %q", header, status, body, want)
		}
	}
	put("AccessControlListNotSupported", "x-amz-acl", "public-read")
	c.raw(t, 0, "PUT", "/bkt?ownershipControls", "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>")
	put("AccessDenied", "x-amz-acl", "public-read") // the public access block
	put("", "x-amz-acl", "log-delivery-write")
	put("InvalidArgument", "x-amz-acl", "nonsense")
	put("InvalidRequest", "x-amz-acl", "private", "x-amz-grant-read", "id="+theirs)
	put("InvalidArgument", "x-amz-grant-read", "id=00")
	put("InvalidArgument", "x-amz-grant-read", "uri=http://example.com")
	put("UnresolvableGrantByEmailAddress", "x-amz-grant-read", `emailAddress="a@example.com"`)
	put("", "x-amz-grant-read", `id="`+theirs+`"`, "x-amz-grant-full-control", "id="+mine)
	if _, _, body := c.raw(t, 0, "GET", "/bkt?acl", ""); !strings.Contains(body, `xsi:type="CanonicalUser"><ID>`+theirs+"</ID></Grantee><Permission>READ</Permission>") {
		t.Error(body)
	}
	if _, code, _ := c.raw(t, 0, "PUT", "/bkt?ownershipControls", "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>"); code != "InvalidBucketAclWithObjectOwnership" {
		t.Error(code)
	}
	c.raw(t, 0, "DELETE", "/bkt?publicAccessBlock", "")
	doc := func(owner, grantee string) string {
		return `<AccessControlPolicy xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Owner><ID>` + owner + `</ID></Owner><AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" ` + grantee + `</Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>`
	}
	for body, want := range map[string]string{
		doc(mine, `xsi:type="Group"><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI>`): "",
		doc(mine, `xsi:type="Robot"><URI>x</URI>`):                                               "MalformedACLError",
		doc(mine, `><URI>x</URI>`):                                                               "MalformedXML",
		doc(theirs, `xsi:type="CanonicalUser"><ID>`+mine+`</ID>`):                                "AccessDenied",
	} {
		if _, code, text := c.raw(t, 0, "PUT", "/bkt?acl", body); code != want {
			t.Errorf("%s: %s, want %q", body, text, want)
		}
	}
	for header, want := range map[string]string{
		"private": "", "public-read": "InvalidBucketAclWithObjectOwnership", "nonsense": "InvalidArgument",
	} {
		if _, code, _ := c.raw(t, 0, "PUT", "/new-"+header, "", "x-amz-acl", header); code != want {
			t.Errorf("create with %s: %s, want %q", header, code, want)
		}
	}
	if _, code, _ := c.raw(t, 0, "PUT", "/new-writer", "", "x-amz-acl", "public-read", "x-amz-object-ownership", "ObjectWriter"); code != "InvalidBucketAclWithBlockPublicAccessError" {
		t.Error(code)
	}
	if status, _, body := c.raw(t, 0, "PUT", "/new-writer", "", "x-amz-grant-read", "id="+theirs, "x-amz-object-ownership", "ObjectWriter"); status != 200 {
		t.Error(body)
	}
}
