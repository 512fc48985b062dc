using System.Diagnostics;
using KeyVa.Partitions;
using KeyVa.Server.Identity;
using KeyVa.Transactions;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Primitives;

namespace KeyVa.Server;

/// <summary>
/// Takes every request of the REST listener to its resource and turns whatever fails into a problem. Thread-safe.
/// </summary>
/// <remarks>
/// Routed by hand on the raw target: keys survive byte by byte, and <c>/kv/{key}</c> pays for no routing table.
/// </remarks>
internal sealed class RestFrontDoor(Store store, TransactionRegistry transactions, RequestMeter meter, RequestObserver observer, LiveConfiguration configuration, MetricList metrics, FailureLog failures, UserStore users, OwnPassword ownPassword, ConsistentReads? reads = null, LeaderRouting? leaders = null)
{
    internal const string KeyPrefix = "/kv/";

    private readonly RestPast _past = new(store);
    private readonly RestValues _values = new(store, observer.Tracer);
    private readonly RestList _list = new(store, observer.Tracer);
    private readonly RestBatches _batches = new(store, leaders);
    private readonly RestWatch _watch = new(store, users);
    private readonly RestTransactions _transactions = new(store, transactions, new RestBatches(store));
    private readonly RestIndexes _indexes = new(store);
    private readonly RestUsers _users = new(users, ownPassword);
    private readonly RestPages _pages = new(store, metrics);
    private readonly RestConfiguration _configuration = new(configuration);
    private readonly RestSlowLog _slowLog = new(observer.Slow);

    /// <summary>Answers a request.</summary>
    public Task HandleAsync(HttpContext context)
    {
        long started = Stopwatch.GetTimestamp();
        Operation operation = Operation.Other;
        Task answer;
        try
        {
            string raw = context.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget;
            answer = reads is null
                ? RouteAsync(context, RestTarget.Split(raw), out operation)
                : RoutePreparedAsync(context, raw, out operation);
        }
        catch (StoreException e)
        {
            answer = FailAsync(context, e);
        }

        if (!answer.IsCompletedSuccessfully)
        {
            return AwaitAsync(context, answer, operation, started);
        }

        Observe(context, operation, started);
        return Task.CompletedTask;
    }

    /// <summary>What reads values: of a transaction, only its beginning.</summary>
    private static bool Reads(string method, in RestTarget target) => HttpMethods.IsGet(method) || HttpMethods.IsHead(method)
        ? target.Path.StartsWith(RestRoutes.List) || target.Path.StartsWith(RestPast.HistoryPrefix) || target.Path.StartsWith(RestIndexes.Prefix)
        : HttpMethods.IsPost(method) && target.Path is RestRoutes.MultiGet or RestRoutes.Transactions or RestRoutes.Transact;

    // Refuses what it cannot make out of how a request wants to be served, also where no other node is.
    private Task RoutePreparedAsync(HttpContext context, string raw, out Operation operation)
    {
        string method = context.Request.Method;
        RestTarget target = RestTarget.Split(raw);
        IHeaderDictionary headers = context.Request.Headers;
        bool isRouted = headers.TryGetValue(LeaderRouting.Header, out StringValues forward);
        bool isFreshness = headers.TryGetValue(ConsistentReads.Header, out StringValues consistency);
        if (!reads!.AreNeeded && !isRouted && !isFreshness)
        {
            return RouteAsync(context, target, out operation);
        }

        bool isRead = Reads(method, target);
        operation = isRead && !HttpMethods.IsPost(method) ? Operation.Get : Operation.Other;
        if (!LeaderRouting.TryRead(forward, out bool forwards))
        {
            return Problem.Malformed(LeaderRouting.Malformed).WriteAsync(context);
        }

        Consistency asked = default;
        if (isRead && !Consistency.TryRead(consistency, out asked))
        {
            return Problem.Malformed(Consistency.Malformed).WriteAsync(context);
        }

        return reads.AreNeeded && (isRead || isRouted)
            ? RouteReplicatedAsync(context, raw, isRead, forwards, asked, ref operation)
            : RouteAsync(context, target, out operation);
    }

    // Leads a caller elsewhere who wants that, and waits until reads may begin.
    private Task RouteReplicatedAsync(HttpContext context, string raw, bool isRead, bool forwards, Consistency asked, ref Operation operation)
    {
        RestTarget target = RestTarget.Split(raw);
        TouchedPartitions touched = reads!.Touch();
        bool isKnown = RestKeys.TryAdd(context.Request.Method, target, touched);
        if (!forwards && isKnown && leaders!.Find(touched) is { } elsewhere)
        {
            return Problem.Elsewhere(elsewhere).WriteAsync(context);
        }

        if (!isRead)
        {
            return RouteAsync(context, target, out operation);
        }

        if (!isKnown)
        {
            touched.AddAll();
        }

        return RouteFreshAsync(context, raw, asked, touched);
    }

    private async Task RouteFreshAsync(HttpContext context, string raw, Consistency asked, TouchedPartitions touched)
    {
        Status status = await reads!.AwaitAsync(asked, touched, context.RequestAborted);
        await (status == Status.Ok
            ? RouteAsync(context, RestTarget.Split(raw), out _)
            : Problem.Of(status, ConsistentReads.Detail(status)).WriteAsync(context));
    }

    private async Task AwaitAsync(HttpContext context, Task answer, Operation operation, long started)
    {
        try
        {
            await answer;
        }
        catch (StoreException e)
        {
            await FailAsync(context, e);
        }
        catch (BadHttpRequestException e) when (!context.Response.HasStarted)
        {
            await Problem.Http(e.StatusCode, "The request body cannot be read", e.Message).WriteAsync(context);
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // The client went away; nobody is left to answer.
        }

        Observe(context, operation, started);
    }

    private void Observe(HttpContext context, Operation operation, long started)
    {
        // What is not measured is not slow either: a watch lasts as long as it is wanted.
        if (operation != Operation.Other)
        {
            HttpObservation request = new(context);
            observer.End(meter, operation, started, ref request);
        }
    }

    private Task RouteAsync(HttpContext context, in RestTarget target, out Operation operation)
    {
        // Methods are case-sensitive (RFC 9110, 9.1); what follows compares them as the framework does, which is not.
        if (context.Request.Method.AsSpan().ContainsAnyInRange('a', 'z'))
        {
            operation = Operation.Other;
            return Problem.Http(StatusCodes.Status501NotImplemented, "Unknown method", $"there is no method {context.Request.Method}; methods are written in capitals").WriteAsync(context);
        }

        if (target.Path.StartsWith(KeyPrefix))
        {
            return RouteKeyAsync(context, target, out operation);
        }

        if (target.Path.StartsWith(RestTransactions.Prefix))
        {
            return _transactions.RouteAsync(context, target, out operation);
        }

        if (target.Path.StartsWith(RestIndexes.Prefix))
        {
            return _indexes.RouteAsync(context, target, out operation);
        }

        if (target.Path.StartsWith(RestConfiguration.Prefix))
        {
            operation = Operation.Other;
            return _configuration.RouteAsync(context, target);
        }

        if (target.Path.StartsWith(RestUsers.Prefix))
        {
            operation = Operation.Other;
            return _users.RouteAsync(context, target);
        }

        string method = context.Request.Method;
        if (target.Path.StartsWith(RestPast.HistoryPrefix))
        {
            operation = Operation.Scan;
            return HttpMethods.IsGet(method) ? _past.HistoryAsync(context, target) : RefuseMethodAsync(context, RestRoutes.MethodsOf(RestRoutes.History));
        }

        operation = Operation.Other;
        switch (target.Path)
        {
            case RestRoutes.List when HttpMethods.IsGet(method):
                operation = Operation.Scan;
                return _list.ReadAsync(context, target);
            case RestRoutes.List when HttpMethods.IsDelete(method):
                operation = Operation.Remove;
                return _list.RemoveAsync(context, target);
            case RestRoutes.Batch when HttpMethods.IsPost(method):
                operation = Operation.Write;
                return _batches.WriteAsync(context);
            case RestRoutes.MultiGet when HttpMethods.IsPost(method):
                operation = Operation.Get;
                return _batches.GetAsync(context, target);
            case RestRoutes.RollBack when HttpMethods.IsPost(method):
                return _past.RollBackAsync(context);
            case RestRoutes.Watch when HttpMethods.IsGet(method):
                return _watch.StreamAsync(context, target);
            case RestRoutes.Indexes when HttpMethods.IsGet(method):
                return _indexes.ListAsync(context);
            case RestRoutes.Users when HttpMethods.IsGet(method):
                return _users.ListAsync(context);
            case RestRoutes.OwnPassword when HttpMethods.IsPut(method):
                return _users.ChangeOwnPasswordAsync(context);
            case RestRoutes.Transactions when HttpMethods.IsPost(method):
                return _transactions.BeginAsync(context);
            case RestRoutes.Transact when HttpMethods.IsPost(method):
                operation = Operation.Commit;
                return _transactions.TransactAsync(context);
            case RestRoutes.Configuration when HttpMethods.IsGet(method):
                return _configuration.ListAsync(context);
            case RestRoutes.SlowLog when HttpMethods.IsGet(method):
                return _slowLog.ListAsync(context, target);
            case RestRoutes.SlowLog when HttpMethods.IsDelete(method):
                return _slowLog.ClearAsync(context);
            case RestRoutes.Metrics when HttpMethods.IsGet(method):
                return _pages.MetricsAsync(context);
            case RestRoutes.Health when HttpMethods.IsGet(method):
                return RestPages.HealthAsync(context);
            case RestRoutes.Ready when HttpMethods.IsGet(method):
                return _pages.ReadyAsync(context);
            case RestRoutes.OpenApi when HttpMethods.IsGet(method):
                return RestPages.OpenApiAsync(context);
            case RestRoutes.Root when HttpMethods.IsGet(method):
                return RestPages.RootAsync(context);
            default:
                return RefuseAsync(context, target.Path.ToString());
        }
    }

    private Task RouteKeyAsync(HttpContext context, in RestTarget target, out Operation operation)
    {
        string method = context.Request.Method;
        if (HttpMethods.IsGet(method) || HttpMethods.IsHead(method))
        {
            operation = Operation.Get;
            return _values.ReadAsync(context, target, HttpMethods.IsHead(method));
        }

        if (HttpMethods.IsPut(method))
        {
            operation = Operation.Upsert;
            return _values.PutAsync(context, target);
        }

        if (HttpMethods.IsPatch(method))
        {
            operation = Operation.Write;
            return _values.MergeAsync(context, target);
        }

        if (HttpMethods.IsDelete(method))
        {
            operation = Operation.Remove;
            return _values.RemoveAsync(context, target);
        }

        operation = Operation.Other;
        return RefuseMethodAsync(context, RestRoutes.MethodsOf(RestRoutes.Key));
    }

    internal static Task RefuseAsync(HttpContext context, string path)
    {
        string methods = RestRoutes.MethodsOf(path);
        return methods is null
            ? Problem.Http(
                StatusCodes.Status404NotFound, "No such resource",
                $"there is nothing at '{path}'; {RestRoutes.OpenApi} lists what there is").WriteAsync(context)
            : RefuseMethodAsync(context, methods);
    }

    private static Task RefuseMethodAsync(HttpContext context, string methods) =>
        Problem.MethodNotAllowed(context.Request.Method, methods).WriteAsync(context);

    private Task FailAsync(HttpContext context, StoreException failure)
    {
        if (failure is RefusedException refused && !context.Response.HasStarted)
        {
            return Problem.Of(refused.Status, refused.Message).WriteAsync(context);
        }

        failures.Report(failure, context.Request.Method, context.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget);
        if (context.Response.HasStarted)
        {
            // Cut off, so that nobody takes what came so far for the whole.
            context.Abort();
            return Task.CompletedTask;
        }

        return Problem.Failure(failure.Message).WriteAsync(context);
    }
}
