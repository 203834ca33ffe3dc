# What an administrator declares of one account: both federations, a role of
# each, groups and users, managed policies with versions, a boundary.
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

variable "endpoint" { type = string }
variable "metadata" { type = string }
variable "saml_url" { type = string }
variable "issuer" { type = string }
variable "note" {
  type    = string
  default = "first"
}

provider "aws" {
  region = "us-east-1"
  endpoints {
    iam = var.endpoint
    sts = var.endpoint
    s3  = var.endpoint
  }
  default_tags {
    tags = { managed = "terraform" }
  }
}

data "aws_caller_identity" "me" {}

resource "aws_iam_saml_provider" "corp" {
  name                   = "corp"
  saml_metadata_document = file(var.metadata)
}

resource "aws_iam_openid_connect_provider" "carnet" {
  url             = var.issuer
  client_id_list  = ["sts.amazonaws.com", "carnet"]
  thumbprint_list = ["9e99a48a9960b14926bb7f3b02e22da2b0ab7280"]
}

data "aws_iam_policy_document" "saml_trust" {
  statement {
    actions = ["sts:AssumeRoleWithSAML", "sts:TagSession"]
    principals {
      type        = "Federated"
      identifiers = [aws_iam_saml_provider.corp.arn]
    }
    condition {
      test     = "StringEquals"
      variable = "SAML:aud"
      values   = [var.saml_url]
    }
  }
}

data "aws_iam_policy_document" "oidc_trust" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.carnet.arn]
    }
    condition {
      test     = "StringEquals"
      variable = "${replace(var.issuer, "https://", "")}:aud"
      values   = ["sts.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "data" {
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = ["arn:aws:s3:::sales"]
  }
  statement {
    sid       = "Data"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["arn:aws:s3:::sales/$${aws:PrincipalTag/team}/*"]
  }
}

resource "aws_iam_policy" "limit" {
  name        = "limit"
  path        = "/boundaries/"
  description = "no role of this path does more"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["s3:*", "sts:*"]
      Resource = "*"
    }]
  })
}

resource "aws_iam_policy" "data" {
  name   = "data"
  policy = data.aws_iam_policy_document.data.json
  tags   = { note = var.note }
}

resource "aws_iam_role" "analyst" {
  name                 = "tf-analyst"
  path                 = "/data/"
  description          = "reads and writes the folder of a team, ${var.note}"
  max_session_duration = 7200
  assume_role_policy   = data.aws_iam_policy_document.saml_trust.json
  permissions_boundary = aws_iam_policy.limit.arn
  tags                 = { team = "data" }
}

resource "aws_iam_role_policy_attachment" "analyst" {
  role       = aws_iam_role.analyst.name
  policy_arn = aws_iam_policy.data.arn
}

resource "aws_iam_role" "job" {
  name               = "tf-job"
  assume_role_policy = data.aws_iam_policy_document.oidc_trust.json
}

resource "aws_iam_role_policy" "job" {
  name   = "read"
  role   = aws_iam_role.job.id
  policy = data.aws_iam_policy_document.data.json
}

resource "aws_iam_role_policy_attachment" "job" {
  role       = aws_iam_role.job.name
  policy_arn = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
}

resource "aws_iam_instance_profile" "meta" {
  name = "tf-meta"
  role = aws_iam_role.job.name
}

resource "aws_iam_group" "stewards" {
  name = "tf-stewards"
  path = "/people/"
}

resource "aws_iam_group_policy" "stewards" {
  name   = "look"
  group  = aws_iam_group.stewards.name
  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "iam:Get*", Resource = "*" }] })
}

resource "aws_iam_user" "robot" {
  name                 = "tf-robot"
  path                 = "/robots/"
  permissions_boundary = aws_iam_policy.limit.arn
  tags                 = { owner = "data platform" }
}

resource "aws_iam_user_group_membership" "robot" {
  user   = aws_iam_user.robot.name
  groups = [aws_iam_group.stewards.name]
}

resource "aws_iam_user_policy" "robot" {
  name   = "own"
  user   = aws_iam_user.robot.name
  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Deny", Action = "*", Resource = "*" }] })
}

resource "aws_iam_user_policy_attachment" "robot" {
  user       = aws_iam_user.robot.name
  policy_arn = aws_iam_policy.data.arn
}

resource "aws_iam_group_policy_attachment" "stewards" {
  group      = aws_iam_group.stewards.name
  policy_arn = aws_iam_policy.data.arn
}

resource "aws_iam_account_alias" "alias" {
  account_alias = "carnet-terraform"
}

data "aws_iam_principal_policy_simulation" "job" {
  action_names      = ["s3:GetObject", "s3:DeleteObject"]
  policy_source_arn = aws_iam_role.job.arn
  resource_arns     = ["arn:aws:s3:::sales/blue/x"]
  context {
    key    = "aws:PrincipalTag/team"
    type   = "string"
    values = ["blue"]
  }
  depends_on = [aws_iam_role_policy.job, aws_iam_role_policy_attachment.job]
}

output "account" { value = data.aws_caller_identity.me.account_id }
output "analyst" { value = aws_iam_role.analyst.arn }
output "simulated" {
  value = { for r in data.aws_iam_principal_policy_simulation.job.results : r.action_name => r.decision }
}
