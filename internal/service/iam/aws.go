package iam

// awsPolicy is one of AWS's own managed policies, arn:aws:iam::aws:policy/NAME.
type awsPolicy struct{ name, document string }

// awsOwn are the AWS managed policies that Carnet knows: those that name
// whole services, so that they mean here what they mean at AWS (AWS Managed
// Policy Reference Guide).
func awsOwn() []awsPolicy {
	return []awsPolicy{
		{"AdministratorAccess", allow(`"*"`)},
		{"PowerUserAccess", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","NotAction":["iam:*","organizations:*","account:*"],"Resource":"*"},{"Effect":"Allow","Action":["account:GetAccountInformation","account:GetGovCloudAccountInformation","account:GetPrimaryEmail","account:ListRegions","iam:CreateServiceLinkedRole","iam:DeleteServiceLinkedRole","iam:ListRoles","organizations:DescribeEffectivePolicy","organizations:DescribeOrganization"],"Resource":"*"}]}`},
		{"AmazonS3FullAccess", allow(`["s3:*","s3-object-lambda:*"]`)},
		{"AmazonS3ReadOnlyAccess", allow(`["s3:Get*","s3:List*","s3:Describe*","s3-object-lambda:Get*","s3-object-lambda:List*"]`)},
		{"IAMFullAccess", allow(`["iam:*","organizations:DescribeAccount","organizations:DescribeOrganization","organizations:DescribeOrganizationalUnit","organizations:DescribePolicy","organizations:ListChildren","organizations:ListParents","organizations:ListPoliciesForTarget","organizations:ListRoots","organizations:ListPolicies","organizations:ListTargetsForPolicy"]`)},
		{"IAMReadOnlyAccess", allow(`["iam:GenerateCredentialReport","iam:GenerateServiceLastAccessedDetails","iam:Get*","iam:List*","iam:SimulateCustomPolicy","iam:SimulatePrincipalPolicy"]`)},
	}
}

func allow(actions string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":` + actions + `,"Resource":"*"}]}`
}

// awsPolicies compiles AWS's own managed policies for every partition in use,
// once.
func (c *compiler) awsPolicies() {
	partitions := map[string]bool{}
	for _, p := range c.view.partitions {
		partitions[p] = true
	}
	for partition := range partitions {
		for _, p := range awsOwn() {
			name := "arn:" + partition + ":iam::aws:policy/" + p.name
			if c.before != nil && c.before.managed[name] != nil {
				c.managed[name] = c.before.managed[name]
				continue
			}
			made, err := compileManaged(name, p.name, p.document)
			if err != nil {
				c.broken[Ref{KindManagedPolicy, "aws", p.name}] = err
				continue
			}
			c.managed[name] = made
		}
	}
}
