using System.Text.Json;
using KeyVa.Indexes;
using KeyVa.Protocol.V1;
using KeyVa.Server.Identity;
using KeyVa.Transactions;
using Microsoft.AspNetCore.Http;

namespace KeyVa.Server;

/// <summary>
/// Transactions over REST: <c>POST /txn</c> begins one, <c>/txn/{id}/…</c> works with it, <c>POST /txn:transact</c> is a whole
/// one in one request. Thread-safe.
/// </summary>
internal sealed class RestTransactions(Store store, TransactionRegistry transactions, RestBatches batches)
{
    internal const string Prefix = "/txn/";

    /// <summary>Answers POST /txn.</summary>
    public async Task BeginAsync(HttpContext context)
    {
        using RequestBody body = await batches.ReadAsync(context, jsonOnly: true);
        if (body.IsTooLong)
        {
            return;
        }

        if (!JsonTransaction.TryReadOptions(body.Memory.Span, out TransactionOptions options, out string wrong))
        {
            await Problem.Malformed(wrong).WriteAsync(context);
            return;
        }

        string id = TransactionIds.Format(transactions.Begin(options, TransactionIds.OwnerOf(context), out long number));
        context.Response.StatusCode = StatusCodes.Status201Created;
        context.Response.Headers.Location = Prefix + id;
        await AnswerAsync(context, json =>
        {
            json.WriteString("id", id);
            json.WriteNumber("number", number);
            json.WriteNumber("timeLimit", options.TimeLimit.TotalSeconds);
        });
    }

    /// <summary>Answers POST /txn:transact.</summary>
    public async Task TransactAsync(HttpContext context)
    {
        using RequestBody body = await batches.ReadAsync(context);
        if (body.IsTooLong)
        {
            return;
        }

        using OneShot plan = new(store.MergeFunctions);
        string wrong;
        bool valid = MediaType.IsJson(context.Request.ContentType)
            ? JsonTransaction.TryReadOneShot(body.Memory.Span, plan, out wrong)
            : RestBatches.TryParse(TransactRequest.Parser, body.Memory, out TransactRequest request, out wrong) && ProtoTransaction.TryRead(request, plan, out wrong);
        if (!valid)
        {
            await Problem.Malformed(wrong).WriteAsync(context);
            return;
        }

        if (RestAccess.Refuses(context, plan.IsAllowed, out Problem? denied))
        {
            await denied.WriteAsync(context);
            return;
        }

        OneShotResult result = await plan.RunAsync(store);
        HttpObservation.Note(context, result.Commit.Times);
        if (result.Refusal is { } refused)
        {
            await Problem.Of(refused, batch: true).WriteAsync(context);
        }
        else if (!result.Commit.IsOk)
        {
            await Problem.Of(result.Commit).WriteAsync(context);
        }
        else
        {
            await RestBatches.AnswerAsync(context, ProtoTransaction.Of(result), static (json, message) =>
            {
                json.WriteBoolean("succeeded", message.Succeeded);
                json.WriteNumber("version", message.Version);
                if (message.Receipt is { } receipt)
                {
                    RestJson.WriteReceipt(json, receipt);
                }

                RestBatches.WriteRecords(json, message.Records);
            });
        }
    }

    /// <summary>Answers what is below /txn/.</summary>
    public Task RouteAsync(HttpContext context, in RestTarget target, out Operation operation)
    {
        ReadOnlySpan<char> rest = target.Path[Prefix.Length..];
        int slash = rest.IndexOf('/');
        string verb = slash < 0 ? "" : rest[slash..].ToString();
        Guid id = TransactionIds.Parse(slash < 0 ? rest : rest[..slash]);
        string method = context.Request.Method;
        operation = Operation.Other;
        bool isQuery = RestIndexes.TryReadQueried(verb, out string index);
        if (RestRoutes.MethodsOf(RestRoutes.Transaction + (isQuery ? RestRoutes.Indexed : verb)) is not { } methods)
        {
            return RestFrontDoor.RefuseAsync(context, target.Path.ToString());
        }

        if (!methods.Split(", ").Contains(method))
        {
            return Problem.MethodNotAllowed(method, methods).WriteAsync(context);
        }

        if (isQuery)
        {
            operation = Operation.Scan;
            return RestQuery.TryParse(target.Query, RestQuery.IndexedParameters, out RestQuery? asked, out Problem? wrong)
                ? WithAsync(context, id, (http, transaction) => QueryAsync(http, transaction, index, asked))
                : wrong.WriteAsync(context);
        }

        switch (verb)
        {
            case "/get":
                operation = Operation.Get;
                return WithAsync(context, id, GetAsync);
            case "/scan":
                operation = Operation.Scan;
                return RestQuery.TryParse(target.Query, RestQuery.ListParameters, out RestQuery? query, out Problem? problem)
                    ? WithAsync(context, id, (http, transaction) => ScanAsync(http, transaction, query))
                    : problem.WriteAsync(context);
            case "/write":
                operation = Operation.Write;
                return WithAsync(context, id, WriteAsync);
            case "/savepoint":
                return WithAsync(context, id, SavepointAsync);
            case "/rollback-to":
                return WithAsync(context, id, RollbackToAsync);
            case "/commit":
                operation = Operation.Commit;
                return CommitAsync(context, id);
            default:
                return HttpMethods.IsDelete(method)
                    ? RollbackAsync(context, id)
                    : WithAsync(context, id, (http, transaction) => DescribeAsync(http, transaction, id));
        }
    }

    /// <summary>Does a call of a transaction, when those before it are through.</summary>
    private async Task WithAsync(HttpContext context, Guid id, Func<HttpContext, Transaction, Task> work)
    {
        using TransactionRegistry.Rental rental = await transactions.RentAsync(id, TransactionIds.OwnerOf(context), context.RequestAborted);
        await (rental.Transaction is { } transaction ? work(context, transaction) : Problem.NoTransaction().WriteAsync(context));
    }

    private async Task GetAsync(HttpContext context, Transaction transaction)
    {
        using RequestBody body = await batches.ReadAsync(context);
        if (body.IsTooLong)
        {
            return;
        }

        List<ReadOnlyMemory<byte>> keys = [];
        AsOf at = AsOf.Now;
        bool forUpdate = false;
        string wrong;
        bool valid = MediaType.IsJson(context.Request.ContentType)
            ? JsonTransaction.TryReadKeys(body.Memory.Span, keys, out forUpdate, out wrong)
            : RestBatches.TryReadProto(body.Memory, keys, ref at, out wrong);
        if (valid && at.IsSet)
        {
            (valid, wrong) = (false, "a transaction reads at its own snapshot; read the store itself for a version or time of the past");
        }

        if (!valid || keys.Count > RestBatches.MaxGetKeys)
        {
            await (valid ? RestBatches.TooManyKeys(keys.Count) : Problem.Malformed(wrong)).WriteAsync(context);
            return;
        }

        if (RestAccess.Refuses(context, rights => KeyChecks.All(keys, forUpdate ? Level.Write : Level.Read, rights), out Problem? denied))
        {
            await denied.WriteAsync(context);
            return;
        }

        MultiReadResult result = await TransactionIds.ReadAsync(transaction, keys, forUpdate);
        if (result.Status != Status.Ok)
        {
            await Problem.Of(result.Status, result.Detail).WriteAsync(context);
            return;
        }

        await RestBatches.AnswerAsync(context, ProtoRecord.Of(keys, result), static (json, message) => RestBatches.WriteRecords(json, message.Records));
    }

    private static async Task ScanAsync(HttpContext context, Transaction transaction, RestQuery query)
    {
        // Not one more than asked for: what is read must not change until the commit, and what lies behind may.
        ScanOptions options = RestList.ToOptions(query, query.Limit);
        if (RestAccess.Refuses(context, rights => KeyChecks.Range(options, rights), out Problem? denied))
        {
            await denied.WriteAsync(context);
            return;
        }

        using ScanCursor cursor = await transaction.OpenScanAsync(options);
        if (cursor.Status != Status.Ok)
        {
            await Problem.Of(cursor.Status, cursor.Detail).WriteAsync(context);
            return;
        }

        bool found = cursor.MoveNext();
        using ListWriter<ScanCursor> writer = await RestList.StartAsync(context, query);
        await StreamAsync(writer, cursor, found, static at => at.MoveNext(), static at => at.Key.ToArray(), query.Limit, context.RequestAborted);
    }

    private static async Task QueryAsync(HttpContext context, Transaction transaction, string index, RestQuery query)
    {
        if (!RestIndexes.TryRead(index, query, out IndexQuery asked, out Problem? problem))
        {
            await problem!.WriteAsync(context);
            return;
        }

        using IndexCursor cursor = await transaction.OpenQueryAsync(asked with { Limit = query.Limit });
        if (cursor.Status != Status.Ok)
        {
            await Problem.Index(cursor.Status, cursor.Detail).WriteAsync(context);
            return;
        }

        bool found = cursor.MoveNext();
        using ListWriter<IndexCursor> writer = await RestIndexes.StartAsync(context, query);
        await StreamAsync(writer, cursor, found, static at => at.MoveNext(), static at => at.ResumeToken.ToArray(), query.Limit, context.RequestAborted);
    }

    /// <summary>As <see cref="RestList.StreamAsync"/>, but it reads nothing behind the limit and says where to go on whenever that was reached.</summary>
    private static async Task StreamAsync<TCursor>(
        ListWriter<TCursor> writer, TCursor cursor, bool found, Func<TCursor, bool> next, Func<TCursor, byte[]> place, long limit, CancellationToken cancellation)
    {
        byte[]? resume = null;
        for (long count = 1; found && resume is null; count++)
        {
            writer.Add(cursor);
            if (count == limit)
            {
                resume = place(cursor);
            }
            else if (await writer.SendAsync(cancellation))
            {
                found = next(cursor);
            }
            else
            {
                return;
            }
        }

        writer.End(resume);
    }

    private async Task WriteAsync(HttpContext context, Transaction transaction)
    {
        using RequestBody body = await batches.ReadAsync(context);
        if (body.IsTooLong)
        {
            return;
        }

        using WriteBatch batch = new();
        List<bool> removals = [];
        if (!batches.TryRead(context, body.Memory, batch, removals, out string wrong))
        {
            await Problem.Malformed(wrong).WriteAsync(context);
            return;
        }

        if (RestAccess.Refuses(context, rights => KeyChecks.All(batch, rights), out Problem? denied))
        {
            await denied.WriteAsync(context);
            return;
        }

        WriteResult result = await transaction.WriteAsync(batch);
        if (!result.IsOk)
        {
            await Problem.Of(result, batch: true).WriteAsync(context);
            return;
        }

        await RestBatches.AnswerAsync(context, ProtoRecord.Of(result, i => removals[i], removals.Count), RestBatches.WriteWritten);
    }

    private static Task SavepointAsync(HttpContext context, Transaction transaction)
    {
        if (TransactionIds.Ended(transaction) is { } ended)
        {
            return Problem.Of(ended).WriteAsync(context);
        }

        int number = transaction.SetSavepoint().Number;
        return AnswerAsync(context, json => json.WriteNumber("savepoint", number));
    }

    private async Task RollbackToAsync(HttpContext context, Transaction transaction)
    {
        using RequestBody body = await batches.ReadAsync(context, jsonOnly: true);
        if (body.IsTooLong)
        {
            return;
        }

        if (!JsonTransaction.TryReadSavepoint(body.Memory.Span, out int number, out string wrong))
        {
            await Problem.Malformed(wrong).WriteAsync(context);
        }
        else if (TransactionIds.Ended(transaction) is { } ended)
        {
            await Problem.Of(ended).WriteAsync(context);
        }
        else if (!TransactionIds.TryRollbackTo(transaction, number))
        {
            await Problem.Malformed(TransactionIds.NoSavepoint(number)).WriteAsync(context);
        }
        else
        {
            context.Response.StatusCode = StatusCodes.Status204NoContent;
        }
    }

    private async Task CommitAsync(HttpContext context, Guid id)
    {
        CommitResult? result = await transactions.CommitAsync(id, TransactionIds.OwnerOf(context), context.RequestAborted);
        HttpObservation.Note(context, result?.Times);
        await (result is not { } done ? Problem.NoTransaction().WriteAsync(context)
            : done.IsOk ? AnswerAsync(context, json => WriteCommitted(json, done))
            : Problem.Of(done).WriteAsync(context));
    }

    private async Task RollbackAsync(HttpContext context, Guid id)
    {
        if (await transactions.RollbackAsync(id, TransactionIds.OwnerOf(context), context.RequestAborted))
        {
            context.Response.StatusCode = StatusCodes.Status204NoContent;
            return;
        }

        await Problem.NoTransaction().WriteAsync(context);
    }

    private static Task DescribeAsync(HttpContext context, Transaction transaction, Guid id)
    {
        CommitResult? ended = TransactionIds.Ended(transaction);
        TransactionOptions options = transaction.Options;
        return AnswerAsync(context, json =>
        {
            json.WriteString("id", TransactionIds.Format(id));
            json.WriteNumber("number", transaction.Number);
            json.WriteString("state", ended is { } result ? StatusNames.Wire(result.Status) : "active");
            json.WriteBoolean("readOnly", options.ReadOnly);
            json.WriteString("isolation", JsonTransaction.Word(options.Isolation));
            json.WriteString("concurrency", JsonTransaction.Word(options.Concurrency));
            json.WriteNumber("timeLimit", options.TimeLimit.TotalSeconds);
            json.WriteNumber("snapshotVersion", transaction.SnapshotVersion);
            if (options.Name is { } name)
            {
                json.WriteString("name", name);
            }
        });
    }

    /// <summary>Answers with an object.</summary>
    internal static async Task AnswerAsync(HttpContext context, Action<Utf8JsonWriter> writeMembers)
    {
        context.Response.ContentType = RestJson.ContentType;
        await context.Response.StartAsync();
        using Utf8JsonWriter json = new(context.Response.BodyWriter, RestJson.WriterOptions);
        json.WriteStartObject();
        writeMembers(json);
        json.WriteEndObject();
        json.Flush();
    }

    private static void WriteCommitted(Utf8JsonWriter json, in CommitResult done)
    {
        json.WriteNumber("version", done.Version);
        if (Receipts.ToMessage(done.Receipt) is { } receipt)
        {
            RestJson.WriteReceipt(json, receipt);
        }
    }
}
