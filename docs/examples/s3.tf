# Buckets with all that they can have, for Terraform's AWS provider against Karri: see docs/s3.md.
terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = "5.100.0" }
  }
}
provider "aws" {
  region                      = "us-east-1"
  skip_credentials_validation = true
  s3_use_path_style           = true
  default_tags { tags = { Team = "lab" } }
}
data "aws_caller_identity" "me" {}

resource "aws_s3_bucket" "logs" {
  bucket        = "tf-logs"
  force_destroy = true
}
resource "aws_s3_bucket" "data" {
  bucket              = "tf-data"
  force_destroy       = true
  object_lock_enabled = true
}
resource "aws_s3_bucket" "copy" {
  bucket        = "tf-copy"
  force_destroy = true
}
resource "aws_s3_bucket_versioning" "data" {
  bucket = aws_s3_bucket.data.id
  versioning_configuration { status = "Enabled" }
}
resource "aws_s3_bucket_versioning" "copy" {
  bucket = aws_s3_bucket.copy.id
  versioning_configuration { status = "Enabled" }
}
resource "aws_s3_bucket_object_lock_configuration" "data" {
  bucket = aws_s3_bucket.data.id
  rule {
    default_retention {
      mode = "GOVERNANCE"
      days = 1
    }
  }
}
resource "aws_s3_bucket_server_side_encryption_configuration" "data" {
  bucket = aws_s3_bucket.data.id
  rule {
    apply_server_side_encryption_by_default { sse_algorithm = "AES256" }
  }
}
resource "aws_s3_bucket_public_access_block" "web" {
  bucket                  = aws_s3_bucket.web.id
  block_public_acls       = false
  block_public_policy     = false
  ignore_public_acls      = false
  restrict_public_buckets = false
}
resource "aws_s3_bucket" "web" { bucket = "tf-web" }
resource "aws_s3_bucket_website_configuration" "web" {
  bucket = aws_s3_bucket.web.id
  index_document { suffix = "index.html" }
  error_document { key = "error.html" }
  routing_rule {
    condition { key_prefix_equals = "docs/" }
    redirect { replace_key_prefix_with = "documents/" }
  }
}
resource "aws_s3_bucket_policy" "web" {
  bucket = aws_s3_bucket.web.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Sid = "Read", Effect = "Allow", Principal = "*", Action = "s3:GetObject", Resource = "${aws_s3_bucket.web.arn}/*" }]
  })
  depends_on = [aws_s3_bucket_public_access_block.web]
}
resource "aws_s3_bucket_ownership_controls" "web" {
  bucket = aws_s3_bucket.web.id
  rule { object_ownership = "BucketOwnerPreferred" }
}
resource "aws_s3_bucket_acl" "web" {
  bucket     = aws_s3_bucket.web.id
  acl        = "public-read"
  depends_on = [aws_s3_bucket_ownership_controls.web, aws_s3_bucket_public_access_block.web]
}
resource "aws_s3_bucket_cors_configuration" "web" {
  bucket = aws_s3_bucket.web.id
  cors_rule {
    allowed_methods = ["GET", "HEAD"]
    allowed_origins = ["https://www.example.com"]
    allowed_headers = ["*"]
    expose_headers  = ["ETag"]
    max_age_seconds = 3000
  }
}
resource "aws_s3_bucket_lifecycle_configuration" "data" {
  bucket = aws_s3_bucket.data.id
  rule {
    id     = "old"
    status = "Enabled"
    filter {
      and {
        prefix                   = "tmp/"
        tags                     = { keep = "no" }
        object_size_greater_than = 10
      }
    }
    expiration { days = 30 }
    noncurrent_version_expiration {
      noncurrent_days           = 7
      newer_noncurrent_versions = 2
    }
  }
  rule {
    id     = "uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload { days_after_initiation = 3 }
  }
}
resource "aws_s3_bucket_logging" "data" {
  bucket        = aws_s3_bucket.data.id
  target_bucket = aws_s3_bucket.logs.id
  target_prefix = "s3/"
  depends_on    = [aws_s3_bucket_policy.logs]
}
resource "aws_s3_bucket_policy" "logs" {
  bucket = aws_s3_bucket.logs.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "logging.s3.amazonaws.com" }, Action = "s3:PutObject", Resource = "${aws_s3_bucket.logs.arn}/*",
    Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.me.account_id } } }]
  })
}
resource "aws_s3_bucket_request_payment_configuration" "data" {
  bucket = aws_s3_bucket.data.id
  payer  = "Requester"
}
resource "aws_s3_bucket_accelerate_configuration" "copy" {
  bucket = aws_s3_bucket.copy.id
  status = "Enabled"
}
resource "aws_s3_bucket_metric" "all" {
  bucket = aws_s3_bucket.data.id
  name   = "all"
}
resource "aws_s3_bucket_inventory" "all" {
  bucket                   = aws_s3_bucket.data.id
  name                     = "weekly"
  included_object_versions = "All"
  schedule { frequency = "Weekly" }
  destination {
    bucket {
      format     = "CSV"
      bucket_arn = aws_s3_bucket.logs.arn
    }
  }
}
resource "aws_s3_bucket_analytics_configuration" "a" {
  bucket = aws_s3_bucket.data.id
  name   = "a"
}
resource "aws_s3_bucket_intelligent_tiering_configuration" "t" {
  bucket = aws_s3_bucket.data.id
  name   = "t"
  tiering {
    access_tier = "ARCHIVE_ACCESS"
    days        = 125
  }
}
resource "aws_s3_bucket_replication_configuration" "r" {
  bucket = aws_s3_bucket.data.id
  role   = aws_iam_role.copy.arn
  rule {
    id       = "all"
    priority = 1
    status   = "Enabled"
    filter { prefix = "" }
    delete_marker_replication { status = "Enabled" }
    destination { bucket = aws_s3_bucket.copy.arn }
  }
  depends_on = [aws_s3_bucket_versioning.data, aws_s3_bucket_versioning.copy]
}
resource "aws_s3_object" "o" {
  bucket       = aws_s3_bucket.web.id
  key          = "index.html"
  content      = "<p>hi</p>"
  content_type = "text/html"
  depends_on   = [aws_s3_bucket_ownership_controls.web]
}
resource "aws_s3_object_copy" "c" {
  bucket = aws_s3_bucket.web.id
  key    = "copy.html"
  source = "${aws_s3_bucket.web.id}/${aws_s3_object.o.key}"
}
data "aws_s3_objects" "list" {
  bucket     = aws_s3_bucket.web.id
  depends_on = [aws_s3_object_copy.c]
}
output "keys" { value = data.aws_s3_objects.list.keys }

resource "aws_iam_role" "copy" {
  name               = "copy"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = { Service = "s3.amazonaws.com" }, Action = "sts:AssumeRole" }] })
}
resource "aws_iam_role_policy" "copy" {
  role   = aws_iam_role.copy.name
  name   = "copy"
  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "s3:*", Resource = "*" }] })
}
