package dev.carnet.spark;

import java.util.Map;
import java.util.Set;
import org.sparkproject.connect.grpc.ForwardingServerCallListener.SimpleForwardingServerCallListener;
import org.sparkproject.connect.grpc.Metadata;
import org.sparkproject.connect.grpc.ServerCall;
import org.sparkproject.connect.grpc.ServerCallHandler;
import org.sparkproject.connect.grpc.ServerInterceptor;
import org.sparkproject.connect.grpc.Status;
import org.sparkproject.connect.protobuf.Descriptors.FieldDescriptor;
import org.sparkproject.connect.protobuf.Message;

/**
 * Lets through to a shared Spark Connect server only what carries no code of the client: no jar, class, file, Python or
 * Scala function, data source, model, pipeline or extension. What is not listed here is refused.
 *
 * <p>Set it with spark.connect.grpc.interceptor.classes, together with {@link PlanGuard}, which reads what SQL says.
 */
public final class ConnectGuard implements ServerInterceptor {
  private static final Set<String> CALLS = Set.of("ExecutePlan", "AnalyzePlan", "Config", "ArtifactStatus", "Interrupt",
      "ReattachExecute", "ReleaseExecute", "ReleaseSession", "FetchErrorDetails");

  /** What may stand in each place where a request chooses what it is. */
  private static final Map<String, Set<String>> CHOICES = Map.of(
      "spark.connect.Plan.op_type", Set.of("root", "command"),
      "spark.connect.Relation.rel_type", Set.of("read", "project", "filter", "join", "set_op", "sort", "limit", "aggregate",
          "sql", "local_relation", "sample", "offset", "deduplicate", "range", "subquery_alias", "repartition", "to_df",
          "with_columns_renamed", "show_string", "drop", "tail", "with_columns", "hint", "unpivot", "to_schema",
          "repartition_by_expression", "collect_metrics", "parse", "as_of_join", "html_string", "with_relations", "transpose",
          "unresolved_table_valued_function", "lateral_join", "fill_na", "drop_na", "replace", "summary", "crosstab", "describe",
          "cov", "corr", "approx_quantile", "freq_items", "sample_by"),
      "spark.connect.Command.command_type", Set.of("sql_command", "create_dataframe_view", "write_operation"),
      "spark.connect.Expression.expr_type", Set.of("literal", "unresolved_attribute", "unresolved_function",
          "expression_string", "unresolved_star", "alias", "cast", "unresolved_regex", "sort_order", "lambda_function", "window",
          "unresolved_extract_value", "update_fields", "unresolved_named_lambda_variable", "call_function",
          "named_argument_expression", "subquery_expression"),
      "spark.connect.AnalyzePlanRequest.analyze", Set.of("schema", "explain", "tree_string", "is_local", "input_files",
          "spark_version", "ddl_parse", "same_semantics", "semantic_hash", "json_to_ddl"));

  private static final Set<String> FORMATS = Set.of("", "csv", "json", "orc", "parquet", "text");

  @Override
  public <Q, A> ServerCall.Listener<Q> interceptCall(ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
    String method = call.getMethodDescriptor().getBareMethodName();
    if (!CALLS.contains(method)) {
      call.close(refusal(method), new Metadata());
      return new ServerCall.Listener<Q>() {};
    }
    return new SimpleForwardingServerCallListener<Q>(next.startCall(call, headers)) {
      private boolean refused;

      @Override
      public void onMessage(Q request) {
        String what = request instanceof Message ? carried((Message) request) : "what is no message";
        if (what == null) {
          super.onMessage(request);
          return;
        }
        refused = true;
        call.close(refusal(what), new Metadata());
      }

      @Override
      public void onHalfClose() {
        if (!refused) {
          super.onHalfClose();
        }
      }
    };
  }

  private static Status refusal(String what) {
    return Status.PERMISSION_DENIED.withDescription("this Spark server is shared: it takes no code of clients, and few settings, so it refuses " + what
        + ". Write it as SQL or with columns' own functions, or run it in a Spark of your own");
  }

  /** Names the first thing in a message, or below it, that is not listed; null where there is none. */
  private static String carried(Message m) {
    if (m.getDescriptorForType().getFullName().equals("google.protobuf.Any")) {
      return "an extension";
    }
    for (Map.Entry<FieldDescriptor, Object> e : m.getAllFields().entrySet()) {
      FieldDescriptor field = e.getKey();
      if (field.getContainingOneof() != null) {
        Set<String> allowed = CHOICES.get(field.getContainingOneof().getFullName());
        if (allowed != null && !allowed.contains(field.getName())) {
          return field.getName();
        }
      }
      String trouble = setting(field.getFullName(), e.getValue());
      if (trouble != null) {
        return trouble;
      }
      if (field.getJavaType() != FieldDescriptor.JavaType.MESSAGE) {
        continue;
      }
      Iterable<?> values = field.isRepeated() ? (Iterable<?>) e.getValue() : java.util.List.of(e.getValue());
      for (Object value : values) {
        String what = carried((Message) value);
        if (what != null) {
          return what;
        }
      }
    }
    return null;
  }

  /** Names what a client may not set or choose by a field; null where that is fine. */
  private static String setting(String field, Object value) {
    switch (field) {
      case "spark.connect.Read.DataSource.format":
      case "spark.connect.WriteOperation.source":
        return FORMATS.contains(value) ? null : "the format " + value;
      case "spark.connect.ConfigRequest.Set.pairs":
        for (Object pair : (Iterable<?>) value) {
          Object key = ((Message) pair).getField(((Message) pair).getDescriptorForType().findFieldByName("key"));
          if (!Settings.may((String) key)) {
            return "the setting " + key;
          }
        }
        return null;
      case "spark.connect.Read.DataSource.OptionsEntry.key":
      case "spark.connect.Read.NamedTable.OptionsEntry.key":
      case "spark.connect.WriteOperation.OptionsEntry.key":
        return Settings.mayBeOption((String) value) ? null : "the option " + value;
      default:
        return null;
    }
  }
}
