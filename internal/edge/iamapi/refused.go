package iamapi

// refusal is a group of operations that are not offered, and why.
type refusal struct {
	why     string
	actions []string
}

// refused names the operations of AWS's IAM that have no meaning here. Each
// answers InvalidAction with the reason.
func refused() []refusal {
	return []refusal{
		{"people sign in with their identity provider, and Carnet keeps no passwords", []string{
			"ChangePassword", "CreateLoginProfile", "UpdateLoginProfile", "UpdateAccountPasswordPolicy",
		}},
		{"second factors are the identity provider's", []string{
			"CreateVirtualMFADevice", "DeactivateMFADevice", "DeleteVirtualMFADevice", "EnableMFADevice", "GetMFADevice", "ListMFADeviceTags",
			"ResyncMFADevice", "TagMFADevice", "UntagMFADevice",
		}},
		{"Carnet serves S3, STS and IAM alone, and those take no such credential", []string{
			"CreateServiceSpecificCredential", "DeleteServiceSpecificCredential", "ResetServiceSpecificCredential", "UpdateServiceSpecificCredential",
			"DeleteSSHPublicKey", "GetSSHPublicKey", "UpdateSSHPublicKey", "UploadSSHPublicKey",
			"DeleteSigningCertificate", "UpdateSigningCertificate", "UploadSigningCertificate",
			"DeleteServerCertificate", "GetServerCertificate", "ListServerCertificateTags", "TagServerCertificate", "UntagServerCertificate",
			"UpdateServerCertificate", "UploadServerCertificate",
		}},
		{"there are no AWS services here that could act by themselves", []string{
			"CreateServiceLinkedRole", "DeleteServiceLinkedRole", "GetServiceLinkedRoleDeletionStatus", "GetRoleTemplateVersion",
		}},
		{"guardrails of an organisation are set by carnet authority apply", []string{
			"DisableOrganizationsRootCredentialsManagement", "DisableOrganizationsRootSessions", "EnableOrganizationsRootCredentialsManagement",
			"EnableOrganizationsRootSessions", "GenerateOrganizationsAccessReport", "GetOrganizationsAccessReport", "ListOrganizationsFeatures",
		}},
		{"who used what stands in the audit trail: carnet audit", []string{
			"GenerateCredentialReport", "GetCredentialReport", "GenerateServiceLastAccessedDetails", "GetServiceLastAccessedDetails",
			"GetServiceLastAccessedDetailsWithEntities", "ListPoliciesGrantingServiceAccess",
		}},
		{"delegations are made and revoked by the person whom they speak for, in Carnet itself", []string{
			"AcceptDelegationRequest", "AssociateDelegationRequest", "CreateDelegationRequest", "GetDelegationRequest", "GetHumanReadableSummary",
			"ListDelegationRequests", "RejectDelegationRequest", "SendDelegationToken", "UpdateDelegationRequest", "AcquireRole",
		}},
		{"it sets how AWS's own endpoints behave", []string{
			"SetSecurityTokenServicePreferences", "EnableOutboundWebIdentityFederation", "DisableOutboundWebIdentityFederation",
			"GetOutboundWebIdentityFederationInfo", "GetAccountProperties", "PutAccountProperties",
		}},
	}
}
