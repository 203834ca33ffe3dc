package dev.carnet.spark;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.Set;
import org.apache.hadoop.fs.Path;
import org.apache.spark.sql.SparkSessionExtensions;
import org.apache.spark.sql.catalyst.analysis.LocalTempView$;
import org.apache.spark.sql.catalyst.analysis.UnresolvedRelation;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.catalyst.expressions.UserDefinedExpression;
import org.apache.spark.sql.catalyst.parser.ParserInterface;
import org.apache.spark.sql.catalyst.plans.logical.Command;
import org.apache.spark.sql.catalyst.plans.logical.LeafNode;
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan;
import org.apache.spark.sql.execution.command.CreateViewCommand;
import org.apache.spark.sql.execution.command.SetCommand;
import org.apache.spark.sql.execution.datasources.HadoopFsRelation;
import org.apache.spark.sql.execution.datasources.InsertIntoHadoopFsRelationCommand;
import org.apache.spark.sql.execution.datasources.LogicalRelation;
import scala.Function1;
import scala.Option;
import scala.Product;
import scala.Tuple2;
import scala.collection.Iterable;
import scala.jdk.javaapi.CollectionConverters;
import scala.runtime.BoxedUnit;

/**
 * Lets a shared Spark run only plans that read and write files in S3, with Spark's own functions: no ADD JAR, no functions
 * from jars, no call of Java methods by name, no scripts, no files of the server, no data kept for other connections.
 *
 * <p>Set it with spark.sql.extensions, together with {@link ConnectGuard}.
 */
public final class PlanGuard implements Function1<SparkSessionExtensions, BoxedUnit> {
  private static final Set<String> COMMANDS = Set.of("SetCommand", "ResetCommand", "ExplainCommand", "CreateViewCommand",
      "DropTempViewCommand", "DescribeTableCommand", "DescribeColumnCommand", "DescribeQueryCommand", "DescribeFunctionCommand",
      "ShowTablesCommand", "ShowTables", "ShowViewsCommand", "ShowColumnsCommand", "ShowFunctionsCommand", "ShowFunctions",
      "ShowNamespaces", "ShowNamespacesCommand", "DescribeRelation", "CommandResult", "InsertIntoHadoopFsRelationCommand");
  private static final Set<String> LEAVES = Set.of("LocalRelation", "OneRowRelation", "Range", "LogicalRelation", "CTERelationRef",
      "CommandResult", "EmptyRelation", "ResolvedNamespace", "ResolvedIdentifier", "ResolvedTempView");
  private static final Set<String> NODES = Set.of("ScriptTransformation", "CacheTable", "CacheTableAsSelect");
  private static final Set<String> CALLS = Set.of("CallMethodViaReflection", "TryReflect");

  @Override
  public BoxedUnit apply(SparkSessionExtensions extensions) {
    extensions.injectParser((connection, parser) -> guarded(parser));
    extensions.injectCheckRule(connection -> plan -> {
      check(plan);
      return BoxedUnit.UNIT;
    });
    return BoxedUnit.UNIT;
  }

  /** Options of a table in SQL are refused as soon as they are read: later they would have had their effect. */
  private static ParserInterface guarded(ParserInterface parser) {
    return (ParserInterface) Proxy.newProxyInstance(PlanGuard.class.getClassLoader(), new Class<?>[] {ParserInterface.class}, (proxy, method, in) -> {
      Object out;
      try {
        out = method.invoke(parser, in);
      } catch (InvocationTargetException e) {
        throw e.getCause();
      }
      written(out);
      return out;
    });
  }

  /** Walks all that the parser made, also what is no child of its plan. */
  private static void written(Object part) {
    if (part instanceof UnresolvedRelation) {
      for (String key : ((UnresolvedRelation) part).options().keySet()) {
        if (!Settings.mayBeOption(key)) {
          throw refusal("the option " + key);
        }
      }
    }
    if (part instanceof Iterable) {
      CollectionConverters.asJava((Iterable<?>) part).forEach(PlanGuard::written);
    } else if (part instanceof Product) {
      CollectionConverters.asJava(((Product) part).productIterator()).forEachRemaining(PlanGuard::written);
    }
  }

  private static void check(LogicalPlan plan) {
    String name = plan.getClass().getSimpleName();
    if (plan instanceof Command && !COMMANDS.contains(name)) {
      throw refusal(name);
    }
    if (plan instanceof LeafNode && !(plan instanceof Command) && !LEAVES.contains(name) || NODES.contains(name)) {
      throw refusal(name);
    }
    if (plan instanceof CreateViewCommand && ((CreateViewCommand) plan).viewType() != LocalTempView$.MODULE$) {
      throw refusal("views for other connections");
    }
    if (plan instanceof LogicalRelation) {
      read((LogicalRelation) plan);
    }
    if (plan instanceof InsertIntoHadoopFsRelationCommand) {
      InsertIntoHadoopFsRelationCommand write = (InsertIntoHadoopFsRelationCommand) plan;
      place(write.outputPath());
      options(write.options());
    }
    if (plan instanceof SetCommand && ((SetCommand) plan).kv().isDefined()) {
      set(((SetCommand) plan).kv().get());
    }
    for (Expression e : CollectionConverters.asJava(plan.expressions())) {
      check(e);
    }
    for (LogicalPlan child : CollectionConverters.asJava(plan.children())) {
      check(child);
    }
    for (LogicalPlan inner : CollectionConverters.asJava(plan.subqueries())) {
      check(inner);
    }
  }

  private static void check(Expression e) {
    if (e instanceof UserDefinedExpression || CALLS.contains(e.getClass().getSimpleName())) {
      throw refusal(e.getClass().getSimpleName());
    }
    for (Expression child : CollectionConverters.asJava(e.children())) {
      check(child);
    }
  }

  private static void read(LogicalRelation relation) {
    if (!(relation.relation() instanceof HadoopFsRelation)) {
      throw refusal(relation.relation().getClass().getSimpleName());
    }
    options(((HadoopFsRelation) relation.relation()).options());
    for (Path path : CollectionConverters.asJava(((HadoopFsRelation) relation.relation()).location().rootPaths())) {
      place(path);
    }
  }

  private static void set(Tuple2<String, Option<String>> kv) {
    if (kv._2().isDefined() && !Settings.may(kv._1())) {
      throw refusal("the setting " + kv._1());
    }
  }

  private static void options(scala.collection.immutable.Map<String, String> options) {
    for (String key : CollectionConverters.asJava(options).keySet()) {
      if (!Settings.mayBeOption(key)) {
        throw refusal("the option " + key);
      }
    }
  }

  private static void place(Path path) {
    if (!"s3a".equals(path.toUri().getScheme())) {
      throw refusal("files outside s3a://");
    }
  }

  private static RuntimeException refusal(String what) {
    return new SecurityException("this Spark server is shared: it reads and writes files at s3a:// with Spark's own functions, so it refuses "
        + what + ". Run that in a Spark of your own");
  }
}
