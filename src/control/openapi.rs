//! The OpenAPI document: what the control socket answers, for programs that are to talk to it.
//!
//! Nothing is said twice. Paths, methods and parameters come from the handlers ([`super::routes`] serves and describes
//! an endpoint by the same line), the filter's parameters from [`PARAMETERS`], the answers from the types of [`api`]
//! with their comments. What holds for every endpoint is added here.

use super::api;
use super::filter::{Filter, PARAMETERS};
use super::routes;
use super::tally::{By, Sort};
use std::sync::LazyLock;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{Object, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Required, Response, ResponseBuilder};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// The document as JSON.
pub fn document() -> &'static str {
    // The parts are strings and numbers, which JSON can always hold.
    static TEXT: LazyLock<String> = LazyLock::new(|| described().to_pretty_json().unwrap_or_default());
    &TEXT
}

fn described() -> OpenApi {
    let mut document = routes::endpoints().into_openapi();
    let components = document.components.get_or_insert_default();
    components.schemas.insert(api::Failure::name().into_owned(), api::Failure::schema());
    let items = document.paths.paths.values_mut();
    let operations = items.flat_map(|item| [&mut item.get, &mut item.put, &mut item.post, &mut item.delete]);
    for operation in operations.flatten() {
        let answers = &mut operation.responses.responses;
        if let Some(RefOr::T(answer)) = answers.get_mut("200")
            && answer.description.is_empty()
        {
            answer.description = "The answer".to_owned();
        }
        if operation.parameters.is_some() || operation.request_body.is_some() {
            let meaning = "A parameter or the body is unknown, given twice or without a valid value";
            answers.entry("400".to_owned()).or_insert_with(|| RefOr::T(failure(meaning)));
        }
        let meaning = "Too many connections at once, or the gateway is stopping";
        answers.entry("503".to_owned()).or_insert_with(|| RefOr::T(failure(meaning)));
    }
    document
}

fn failure(meaning: &str) -> Response {
    let content = Content::new(Some(Ref::from_schema_name(api::Failure::name())));
    ResponseBuilder::new().description(meaning).content("application/json", content).build()
}

/// What the document says of the gateway as a whole.
pub(super) fn head() -> OpenApi {
    #[derive(utoipa::OpenApi)]
    #[openapi(info(
        title = "natgate",
        description = "The control socket of natgate, a stateful NAT gateway: HTTP on a UNIX socket. Counters start \
                       at 0 when the gateway starts. A later version may add fields: ignore those that you do not \
                       know. docs/control.md explains more."
    ))]
    struct Head;
    <Head as utoipa::OpenApi>::openapi()
}

impl IntoParams for Filter {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let parameter = |parameter: &super::filter::Parameter| {
            let kind = if parameter.is_flag() { Type::Boolean } else { Type::String };
            ParameterBuilder::new()
                .name(parameter.name)
                .parameter_in(ParameterIn::Query)
                .required(Required::False)
                .description(Some(format!("{} ({})", parameter.help, parameter.value)))
                .schema(Some(Object::with_type(SchemaType::new(kind))))
                .build()
        };
        PARAMETERS.iter().map(parameter).collect()
    }
}

/// A string that is one of these.
fn one_of(names: impl IntoIterator<Item = &'static str>) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).into()
}

impl PartialSchema for By {
    fn schema() -> RefOr<Schema> {
        one_of(By::ALL.map(By::name))
    }
}

impl ToSchema for By {}

impl PartialSchema for Sort {
    fn schema() -> RefOr<Schema> {
        one_of(Sort::ALL.map(Sort::name))
    }
}

impl ToSchema for Sort {}
