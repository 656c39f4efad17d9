package iam_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/csv"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"golang.org/x/crypto/ssh"
)

func TestAliasesAndSummary(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	aliases := func() string {
		return strings.Join(must(t)(c.mine.ListAccountAliases(ctx, &sdk.ListAccountAliasesInput{})).(*sdk.ListAccountAliasesOutput).AccountAliases, " ")
	}
	if got := aliases(); got != "karri" {
		t.Errorf("the name stands in: %q", got)
	}
	for _, bad := range []string{"ab", "Upper", "-x-", "a--b", "123456789012"} {
		refused(t, "ValidationError")(c.mine.CreateAccountAlias(ctx, &sdk.CreateAccountAliasInput{AccountAlias: &bad}))
	}
	refused(t, "EntityAlreadyExists")(c.mine.CreateAccountAlias(ctx, &sdk.CreateAccountAliasInput{AccountAlias: p("other")})) // a name
	must(t)(c.mine.CreateAccountAlias(ctx, &sdk.CreateAccountAliasInput{AccountAlias: p("first")}))
	must(t)(c.mine.CreateAccountAlias(ctx, &sdk.CreateAccountAliasInput{AccountAlias: p("second")}))
	refused(t, "EntityAlreadyExists")(c.them.CreateAccountAlias(ctx, &sdk.CreateAccountAliasInput{AccountAlias: p("second")}))
	must(t)(c.them.CreateAccountAlias(ctx, &sdk.CreateAccountAliasInput{AccountAlias: p("first")})) // free again
	refused(t, "NoSuchEntity")(c.mine.DeleteAccountAlias(ctx, &sdk.DeleteAccountAliasInput{AccountAlias: p("first")}))
	if got := aliases(); got != "second" {
		t.Errorf("%q", got)
	}
	must(t)(c.mine.DeleteAccountAlias(ctx, &sdk.DeleteAccountAliasInput{AccountAlias: p("second")}))
	refused(t, "NoSuchEntity")(c.mine.DeleteAccountAlias(ctx, &sdk.DeleteAccountAliasInput{AccountAlias: p("karri")}))
	if got := aliases(); got != "" {
		t.Errorf("%q", got)
	}
	c.user("ann")
	c.device("ann").enable("ann")
	must(t)(c.mine.SetSecurityTokenServicePreferences(ctx, &sdk.SetSecurityTokenServicePreferencesInput{GlobalEndpointTokenVersion: types.GlobalEndpointTokenVersionV2Token}))
	m := must(t)(c.mine.GetAccountSummary(ctx, &sdk.GetAccountSummaryInput{})).(*sdk.GetAccountSummaryOutput).SummaryMap
	for k, want := range map[string]int32{"Users": 1, "UsersQuota": 5000, "MFADevices": 1, "MFADevicesInUse": 1, "AccountAccessKeysPresent": 1, "GlobalEndpointTokenVersion": 2, "Roles": 0} {
		if got, ok := m[k]; !ok || got != want {
			t.Errorf("%s: %d %v, want %d", k, got, ok, want)
		}
	}
}

func TestCredentialReport(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	refused(t, "ReportNotPresent")(c.mine.GetCredentialReport(ctx, &sdk.GetCredentialReportInput{}))
	ann := c.user("ann,x")
	must(t)(c.mine.CreateLoginProfile(ctx, &sdk.CreateLoginProfileInput{UserName: p("ann,x"), Password: p("Correct-Horse-1")}))
	if a := c.login("account", "karri", "user", "ann,x", "password", "Correct-Horse-1"); a.Code != "" {
		t.Fatalf("%+v", a)
	}
	refused(t, "AccessDenied")(ann.ListUsers(ctx, &sdk.ListUsersInput{}))
	made := must(t)(c.mine.GenerateCredentialReport(ctx, &sdk.GenerateCredentialReportInput{})).(*sdk.GenerateCredentialReportOutput)
	again := must(t)(c.mine.GenerateCredentialReport(ctx, &sdk.GenerateCredentialReportInput{})).(*sdk.GenerateCredentialReportOutput)
	if made.State != types.ReportStateTypeStarted || again.State != types.ReportStateTypeComplete {
		t.Errorf("%s %s", made.State, again.State)
	}
	got := must(t)(c.mine.GetCredentialReport(ctx, &sdk.GetCredentialReportInput{})).(*sdk.GetCredentialReportOutput)
	rows, err := csv.NewReader(strings.NewReader(string(got.Content))).ReadAll()
	if err != nil || len(rows) != 3 || len(rows[0]) != 22 || rows[1][0] != "<root_account>" || rows[2][0] != "ann,x" {
		t.Fatalf("%v %q", err, rows)
	}
	at := map[string]string{}
	for i, name := range rows[0] {
		at[name] = rows[2][i]
	}
	for name, want := range map[string]string{"password_enabled": "true", "password_next_rotation": "N/A", "mfa_active": "false", "access_key_1_active": "true", "access_key_1_last_used_service": "iam", "access_key_2_active": "false", "cert_1_active": "false"} {
		if at[name] != want {
			t.Errorf("%s: %q, want %q", name, at[name], want)
		}
	}
	if _, err := time.Parse("2006-01-02T15:04:05+00:00", at["password_last_used"]); err != nil {
		t.Error(err)
	}
	refused(t, "ReportNotPresent")(c.them.GetCredentialReport(ctx, &sdk.GetCredentialReportInput{}))
	c.ahead.Add(int64(5 * time.Hour))
	refused(t, "ReportExpired")(c.mine.GetCredentialReport(ctx, &sdk.GetCredentialReportInput{}))
	if made := must(t)(c.mine.GenerateCredentialReport(ctx, &sdk.GenerateCredentialReportInput{})).(*sdk.GenerateCredentialReportOutput); made.State != types.ReportStateTypeStarted {
		t.Error(made.State)
	}
}

func TestAuthorizationDetails(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	for _, name := range []string{"a", "b", "c"} {
		c.user(name)
		must(t)(c.them.CreateUser(ctx, &sdk.CreateUserInput{UserName: &name}))
	}
	must(t)(c.mine.CreateGroup(ctx, &sdk.CreateGroupInput{GroupName: p("g")}))
	must(t)(c.mine.AddUserToGroup(ctx, &sdk.AddUserToGroupInput{GroupName: p("g"), UserName: p("b")}))
	must(t)(c.mine.AttachGroupPolicy(ctx, &sdk.AttachGroupPolicyInput{GroupName: p("g"), PolicyArn: p(administrator)}))
	must(t)(c.mine.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: p("r"), AssumeRolePolicyDocument: p(assume)}))
	must(t)(c.mine.PutRolePolicy(ctx, &sdk.PutRolePolicyInput{RoleName: p("r"), PolicyName: p("in"), PolicyDocument: p(allow("s3:*", "*"))}))
	must(t)(c.mine.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: p("own"), PolicyDocument: p(allow("s3:*", "*"))}))
	var users, groups, roles, policies []string
	for marker := (*string)(nil); ; {
		page := must(t)(c.mine.GetAccountAuthorizationDetails(ctx, &sdk.GetAccountAuthorizationDetailsInput{MaxItems: aws.Int32(2), Marker: marker})).(*sdk.GetAccountAuthorizationDetailsOutput)
		for _, u := range page.UserDetailList {
			users = append(users, *u.UserName+strings.Join(u.GroupList, ""))
		}
		for _, g := range page.GroupDetailList {
			groups = append(groups, *g.GroupName+*g.AttachedManagedPolicies[0].PolicyName)
		}
		for _, r := range page.RoleDetailList {
			roles = append(roles, *r.RoleName+*r.RolePolicyList[0].PolicyName)
		}
		for _, v := range page.Policies {
			policies = append(policies, *v.PolicyName+*v.PolicyVersionList[0].VersionId)
		}
		if marker = page.Marker; !page.IsTruncated {
			break
		}
	}
	if got := strings.Join(append(append(append(users, groups...), roles...), policies...), " "); got != "a bg c gAdministratorAccess rin ownv1 AdministratorAccessv1" {
		t.Error(got)
	}
	only := must(t)(c.mine.GetAccountAuthorizationDetails(ctx, &sdk.GetAccountAuthorizationDetailsInput{Filter: []types.EntityType{types.EntityTypeRole, types.EntityTypeLocalManagedPolicy}})).(*sdk.GetAccountAuthorizationDetailsOutput)
	if len(only.UserDetailList)+len(only.GroupDetailList) != 0 || len(only.RoleDetailList) != 1 || len(only.Policies) != 1 {
		t.Errorf("%+v", only)
	}
	refused(t, "ValidationError")(c.mine.GetAccountAuthorizationDetails(ctx, &sdk.GetAccountAuthorizationDetailsInput{Filter: []types.EntityType{"Pet"}}))
}

func TestLastAccessed(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	ann := c.user("ann")
	arn := "arn:aws:iam::" + c.account + ":user/ann"
	must(t)(c.mine.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: p("ann"), PolicyName: p("in"), PolicyDocument: p(allow("iam:List*", "*"))}))
	must(t)(c.mine.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: p("ann"), PolicyArn: p("arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")}))
	must(t)(ann.ListUsers(ctx, &sdk.ListUsersInput{}))
	refused(t, "NoSuchEntity")(c.them.GenerateServiceLastAccessedDetails(ctx, &sdk.GenerateServiceLastAccessedDetailsInput{Arn: &arn}))
	refused(t, "InvalidInput")(c.mine.GenerateServiceLastAccessedDetails(ctx, &sdk.GenerateServiceLastAccessedDetailsInput{Arn: &arn, Granularity: types.AccessAdvisorUsageGranularityTypeActionLevel}))
	job := must(t)(c.mine.GenerateServiceLastAccessedDetails(ctx, &sdk.GenerateServiceLastAccessedDetailsInput{Arn: &arn})).(*sdk.GenerateServiceLastAccessedDetailsOutput).JobId
	got := must(t)(c.mine.GetServiceLastAccessedDetails(ctx, &sdk.GetServiceLastAccessedDetailsInput{JobId: job})).(*sdk.GetServiceLastAccessedDetailsOutput)
	var said []string
	for _, s := range got.ServicesLastAccessed {
		entity := "never"
		if s.LastAuthenticated != nil {
			entity = *s.LastAuthenticatedEntity
		}
		said = append(said, *s.ServiceNamespace+" "+entity)
	}
	if text := strings.Join(said, ", "); text != "iam "+arn+", s3 never" || got.JobStatus != types.JobStatusTypeCompleted {
		t.Error(text)
	}
	with := must(t)(c.mine.GetServiceLastAccessedDetailsWithEntities(ctx, &sdk.GetServiceLastAccessedDetailsWithEntitiesInput{JobId: job, ServiceNamespace: p("iam")})).(*sdk.GetServiceLastAccessedDetailsWithEntitiesOutput)
	if len(with.EntityDetailsList) != 1 || *with.EntityDetailsList[0].EntityInfo.Arn != arn || with.EntityDetailsList[0].LastAuthenticated == nil {
		t.Errorf("%+v", with.EntityDetailsList)
	}
	refused(t, "InvalidInput")(c.mine.GetServiceLastAccessedDetailsWithEntities(ctx, &sdk.GetServiceLastAccessedDetailsWithEntitiesInput{JobId: job, ServiceNamespace: p("ec2")}))
	refused(t, "NoSuchEntity")(c.them.GetServiceLastAccessedDetails(ctx, &sdk.GetServiceLastAccessedDetailsInput{JobId: job}))
	grants := must(t)(c.mine.ListPoliciesGrantingServiceAccess(ctx, &sdk.ListPoliciesGrantingServiceAccessInput{Arn: &arn, ServiceNamespaces: []string{"s3", "iam", "ec2"}})).(*sdk.ListPoliciesGrantingServiceAccessOutput).PoliciesGrantingServiceAccess
	if len(grants) != 3 || len(grants[0].Policies) != 0 || *grants[1].Policies[0].PolicyName != "in" || *grants[2].Policies[0].PolicyName != "AmazonS3ReadOnlyAccess" {
		t.Errorf("%+v", grants)
	}
	c.days(2)
	refused(t, "NoSuchEntity")(c.mine.GetServiceLastAccessedDetails(ctx, &sdk.GetServiceLastAccessedDetailsInput{JobId: job}))
}

func TestServiceLinkedRoles(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	refused(t, "NoSuchEntity")(c.mine.CreateServiceLinkedRole(ctx, &sdk.CreateServiceLinkedRoleInput{AWSServiceName: p("batch.amazonaws.com")}))
	refused(t, "InvalidInput")(c.mine.CreateServiceLinkedRole(ctx, &sdk.CreateServiceLinkedRoleInput{AWSServiceName: p("elasticloadbalancing.amazonaws.com"), CustomSuffix: p("x")}))
	r := must(t)(c.mine.CreateServiceLinkedRole(ctx, &sdk.CreateServiceLinkedRoleInput{AWSServiceName: p("autoscaling.amazonaws.com")})).(*sdk.CreateServiceLinkedRoleOutput).Role
	if *r.Arn != "arn:aws:iam::"+c.account+":role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling" {
		t.Error(*r.Arn)
	}
	refused(t, "InvalidInput")(c.mine.CreateServiceLinkedRole(ctx, &sdk.CreateServiceLinkedRoleInput{AWSServiceName: p("autoscaling.amazonaws.com")}))
	refused(t, "UnmodifiableEntity")(c.mine.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: r.RoleName, PolicyArn: p(administrator)}))
	refused(t, "UnmodifiableEntity")(c.mine.PutRolePolicy(ctx, &sdk.PutRolePolicyInput{RoleName: r.RoleName, PolicyName: p("x"), PolicyDocument: p(allow("*", "*"))}))
	refused(t, "UnmodifiableEntity")(c.mine.UpdateAssumeRolePolicy(ctx, &sdk.UpdateAssumeRolePolicyInput{RoleName: r.RoleName, PolicyDocument: p(assume)}))
	refused(t, "UnmodifiableEntity")(c.mine.DeleteRole(ctx, &sdk.DeleteRoleInput{RoleName: r.RoleName}))
	c.user("ann")
	refused(t, "PolicyNotAttachable")(c.mine.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: p("ann"), PolicyArn: p("arn:aws:iam::aws:policy/aws-service-role/AutoScalingServiceRolePolicy")}))
	must(t)(c.mine.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: p("ann"), PolicyArn: p("arn:aws:iam::aws:policy/job-function/ViewOnlyAccess")}))
	must(t)(c.mine.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: p("plain"), AssumeRolePolicyDocument: p(assume)}))
	refused(t, "NoSuchEntity")(c.mine.DeleteServiceLinkedRole(ctx, &sdk.DeleteServiceLinkedRoleInput{RoleName: p("plain")}))
	refused(t, "NoSuchEntity")(c.them.DeleteServiceLinkedRole(ctx, &sdk.DeleteServiceLinkedRoleInput{RoleName: r.RoleName}))
	task := must(t)(c.mine.DeleteServiceLinkedRole(ctx, &sdk.DeleteServiceLinkedRoleInput{RoleName: r.RoleName})).(*sdk.DeleteServiceLinkedRoleOutput).DeletionTaskId
	state := must(t)(c.mine.GetServiceLinkedRoleDeletionStatus(ctx, &sdk.GetServiceLinkedRoleDeletionStatusInput{DeletionTaskId: task})).(*sdk.GetServiceLinkedRoleDeletionStatusOutput)
	if state.Status != types.DeletionTaskStatusTypeSucceeded {
		t.Error(state.Status)
	}
	refused(t, "NoSuchEntity")(c.mine.GetRole(ctx, &sdk.GetRoleInput{RoleName: r.RoleName}))
	refused(t, "NoSuchEntity")(c.them.GetServiceLinkedRoleDeletionStatus(ctx, &sdk.GetServiceLinkedRoleDeletionStatusInput{DeletionTaskId: task}))
}

func TestManagedPolicies(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	for _, name := range []string{
		"AdministratorAccess", "PowerUserAccess", "ReadOnlyAccess", "AmazonEC2FullAccess", "AmazonEC2ReadOnlyAccess", "AmazonS3FullAccess", "AmazonS3ReadOnlyAccess",
		"AmazonVPCFullAccess", "IAMFullAccess", "IAMReadOnlyAccess", "IAMUserChangePassword", "IAMUserSSHKeys", "SecurityAudit", "job-function/Billing",
		"job-function/DatabaseAdministrator", "job-function/DataScientist", "job-function/NetworkAdministrator", "job-function/SupportUser",
		"job-function/SystemAdministrator", "job-function/ViewOnlyAccess",
	} {
		arn := "arn:aws:iam::aws:policy/" + name
		got := must(t)(c.mine.GetPolicy(ctx, &sdk.GetPolicyInput{PolicyArn: &arn})).(*sdk.GetPolicyOutput).Policy
		if *got.Arn != arn || arn != "arn:aws:iam::aws:policy"+*got.Path+*got.PolicyName {
			t.Errorf("%s: %+v", name, got)
		}
	}
	list := must(t)(c.mine.ListPolicies(ctx, &sdk.ListPoliciesInput{PathPrefix: p("/job-function/")})).(*sdk.ListPoliciesOutput)
	if len(list.Policies) != 7 {
		t.Errorf("%d job functions", len(list.Policies))
	}
}

// What the console does to end a role's sessions: all that were issued before a time are denied everything.
func TestRevokeOlderSessions(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	c.user("ann")
	key := c.keyOf("ann")
	trust := strings.Replace(assume, `{"Service":"ec2.amazonaws.com"}`, `{"AWS":"arn:aws:iam::`+c.account+`:root"}`, 1)
	role := must(t)(c.mine.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: p("r"), AssumeRolePolicyDocument: &trust})).(*sdk.CreateRoleOutput).Role
	must(t)(c.mine.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: p("ann"), PolicyName: p("a"), PolicyDocument: p(allow("sts:AssumeRole", "*"))}))
	must(t)(c.mine.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: p("r"), PolicyArn: p(administrator)}))
	session := func() *sdk.Client {
		return c.session(answer(must(t)(c.sts(key).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: role.Arn, RoleSessionName: p("me")})).(*sts.AssumeRoleOutput).Credentials))
	}
	revoke := func(before time.Time) {
		text := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":["*"],"Resource":["*"],"Condition":{"DateLessThan":{"aws:TokenIssueTime":"` + before.UTC().Format(time.RFC3339) + `"}}}]}`
		must(t)(c.mine.PutRolePolicy(ctx, &sdk.PutRolePolicyInput{RoleName: p("r"), PolicyName: p("AWSRevokeOlderSessions"), PolicyDocument: &text}))
	}
	s := session()
	must(t)(s.ListUsers(ctx, &sdk.ListUsersInput{}))
	revoke(time.Now().Add(time.Minute))
	refused(t, "AccessDenied")(s.ListUsers(ctx, &sdk.ListUsersInput{}))
	revoke(time.Now().Add(-time.Minute)) // it is newer than that
	must(t)(s.ListUsers(ctx, &sdk.ListUsersInput{}))
}

// authority makes certificates.
func certificate(t *testing.T, name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey, until time.Time) (*x509.Certificate, *ecdsa.PrivateKey, string, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	made, _ := x509.ParseCertificate(der)
	keyDER, _ := x509.MarshalPKCS8PrivateKey(key)
	return made, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func TestServerCertificates(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	later := time.Now().Add(24 * time.Hour)
	root, rootKey, rootPEM, _ := certificate(t, "root", nil, nil, later)
	middle, middleKey, middlePEM, _ := certificate(t, "middle", root, rootKey, later)
	_, _, body, key := certificate(t, "leaf", middle, middleKey, later)
	_, _, _, otherKey := certificate(t, "other", nil, nil, later)
	_, _, old, oldKey := certificate(t, "old", nil, nil, time.Now().Add(-time.Hour))
	upload := func(name, body, key, chain string) (any, error) {
		in := &sdk.UploadServerCertificateInput{ServerCertificateName: &name, Path: p("/web/"), CertificateBody: &body, PrivateKey: &key}
		if chain != "" {
			in.CertificateChain = &chain
		}
		return c.mine.UploadServerCertificate(ctx, in)
	}
	refused(t, "KeyPairMismatch")(upload("x", body, otherKey, ""))
	refused(t, "MalformedCertificate")(upload("x", "no", key, ""))
	refused(t, "MalformedCertificate")(upload("x", body, "no", ""))
	refused(t, "MalformedCertificate")(upload("x", old, oldKey, ""))
	refused(t, "MalformedCertificate")(upload("x", body, key, rootPEM+middlePEM)) // the wrong way round
	refused(t, "MalformedCertificate")(upload("x", body, key, rootPEM))
	must(t)(upload("x", body, key, middlePEM+rootPEM))
	refused(t, "EntityAlreadyExists")(upload("X", body, key, ""))
	got := must(t)(c.mine.GetServerCertificate(ctx, &sdk.GetServerCertificateInput{ServerCertificateName: p("x")})).(*sdk.GetServerCertificateOutput).ServerCertificate
	if *got.ServerCertificateMetadata.Arn != "arn:aws:iam::"+c.account+":server-certificate/web/x" || *got.CertificateBody != strings.TrimSpace(body) || !got.ServerCertificateMetadata.Expiration.Equal(later.Truncate(time.Second)) {
		t.Errorf("%+v", got)
	}
	must(t)(c.mine.TagServerCertificate(ctx, &sdk.TagServerCertificateInput{ServerCertificateName: p("x"), Tags: []types.Tag{{Key: p("k"), Value: p("v")}}}))
	must(t)(c.mine.UpdateServerCertificate(ctx, &sdk.UpdateServerCertificateInput{ServerCertificateName: p("x"), NewServerCertificateName: p("y"), NewPath: p("/")}))
	refused(t, "NoSuchEntity")(c.mine.GetServerCertificate(ctx, &sdk.GetServerCertificateInput{ServerCertificateName: p("x")}))
	if tags := must(t)(c.mine.ListServerCertificateTags(ctx, &sdk.ListServerCertificateTagsInput{ServerCertificateName: p("y")})).(*sdk.ListServerCertificateTagsOutput).Tags; len(tags) != 1 {
		t.Errorf("%+v", tags)
	}
	must(t)(c.mine.UntagServerCertificate(ctx, &sdk.UntagServerCertificateInput{ServerCertificateName: p("y"), TagKeys: []string{"k"}}))
	refused(t, "NoSuchEntity")(c.them.GetServerCertificate(ctx, &sdk.GetServerCertificateInput{ServerCertificateName: p("y")}))
	refused(t, "NoSuchEntity")(c.them.DeleteServerCertificate(ctx, &sdk.DeleteServerCertificateInput{ServerCertificateName: p("y")}))
	if list := must(t)(c.mine.ListServerCertificates(ctx, &sdk.ListServerCertificatesInput{PathPrefix: p("/web/")})).(*sdk.ListServerCertificatesOutput).ServerCertificateMetadataList; len(list) != 0 {
		t.Errorf("%+v", list)
	}
	for i := range 19 {
		must(t)(upload("n"+string(rune('a'+i)), body, key, ""))
	}
	refused(t, "LimitExceeded")(upload("more", body, key, ""))
	must(t)(c.mine.DeleteServerCertificate(ctx, &sdk.DeleteServerCertificateInput{ServerCertificateName: p("y")}))
	must(t)(upload("more", body, key, ""))
}

func TestSSHPublicKeys(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	c.user("ann")
	c.user("bob")
	body := func(bits int) *string {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		public, _ := ssh.NewPublicKey(&key.PublicKey)
		return p(string(ssh.MarshalAuthorizedKey(public)))
	}
	upload := func(body *string) (any, error) {
		return c.mine.UploadSSHPublicKey(ctx, &sdk.UploadSSHPublicKeyInput{UserName: p("ann"), SSHPublicKeyBody: body})
	}
	first := body(2048)
	refused(t, "InvalidPublicKey")(upload(body(1024)))
	refused(t, "UnrecognizedPublicKeyEncoding")(upload(p("ssh-rsa nonsense")))
	k := must(t)(upload(first)).(*sdk.UploadSSHPublicKeyOutput).SSHPublicKey
	refused(t, "DuplicateSSHPublicKey")(upload(first))
	get := func(user string, form types.EncodingType) (any, error) {
		return c.mine.GetSSHPublicKey(ctx, &sdk.GetSSHPublicKeyInput{UserName: &user, SSHPublicKeyId: k.SSHPublicKeyId, Encoding: form})
	}
	refused(t, "NoSuchEntity")(get("bob", types.EncodingTypeSsh))
	text := *must(t)(get("ann", types.EncodingTypePem)).(*sdk.GetSSHPublicKeyOutput).SSHPublicKey.SSHPublicKeyBody
	refused(t, "DuplicateSSHPublicKey")(upload(&text)) // the same in another form
	must(t)(c.mine.UpdateSSHPublicKey(ctx, &sdk.UpdateSSHPublicKeyInput{UserName: p("ann"), SSHPublicKeyId: k.SSHPublicKeyId, Status: types.StatusTypeInactive}))
	if list := must(t)(c.mine.ListSSHPublicKeys(ctx, &sdk.ListSSHPublicKeysInput{UserName: p("ann")})).(*sdk.ListSSHPublicKeysOutput).SSHPublicKeys; len(list) != 1 || list[0].Status != types.StatusTypeInactive {
		t.Errorf("%+v", list)
	}
	must(t)(c.mine.DeleteSSHPublicKey(ctx, &sdk.DeleteSSHPublicKeyInput{UserName: p("ann"), SSHPublicKeyId: k.SSHPublicKeyId}))
	refused(t, "NoSuchEntity")(get("ann", types.EncodingTypeSsh))
}
