using Google.Protobuf.Collections;
using KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>The messages of transactions, between data.proto and the store. Stateless.</summary>
internal static class ProtoTransaction
{
    /// <summary>The options; false with what is wrong. Bounds are the store's to check.</summary>
    internal static bool TryReadOptions(BeginRequest request, out TransactionOptions options, out string wrong)
    {
        options = new TransactionOptions();
        wrong = "";
        if (!Enum.IsDefined(request.Isolation))
        {
            wrong = $"isolation {(int)request.Isolation} is not known";
            return false;
        }

        if (request.TimeLimitMs is < 0 or > MaxMilliseconds || request.LockTimeoutMs is < 0 or > MaxMilliseconds)
        {
            wrong = "time_limit_ms and lock_timeout_ms are 0 to a day";
            return false;
        }

        options = options with
        {
            ReadOnly = request.ReadOnly,
            Isolation = (IsolationLevel)request.Isolation,
            Concurrency = request.Pessimistic ? Concurrency.Pessimistic : Concurrency.Optimistic,
            LocksForUpdate = request.LocksForUpdate,
            TimeLimit = request.TimeLimitMs == 0 ? options.TimeLimit : TimeSpan.FromMilliseconds(request.TimeLimitMs),
            LockTimeout = request.HasLockTimeoutMs ? TimeSpan.FromMilliseconds(request.LockTimeoutMs) : null,
            Name = request.Name.Length == 0 ? null : request.Name,
        };
        return true;
    }

    /// <summary>The conditions and steps; false with what is wrong.</summary>
    internal static bool TryRead(TransactRequest request, OneShot plan, out string wrong)
    {
        for (int i = 0; i < request.Conditions.Count; i++)
        {
            Check check = request.Conditions[i];
            if (!ProtoBatch.TryReadCondition(check.Condition, out Condition condition, out wrong) || condition.Kind == ConditionKind.None)
            {
                wrong = $"conditions[{i}] " + (wrong.Length > 0 ? wrong : "has no condition");
                return false;
            }

            plan.When(check.Key.Memory, condition);
        }

        return TryRead(request.Then, plan, true, out wrong) && TryRead(request.Otherwise, plan, false, out wrong);
    }

    /// <summary>The answer to a one-shot that was committed.</summary>
    internal static TransactResponse Of(in OneShotResult result)
    {
        TransactResponse response = new() { Succeeded = result.Succeeded, Version = result.Commit.Version, Receipt = Receipts.ToMessage(result.Commit.Receipt) };
        foreach ((ReadOnlyMemory<byte> key, Record? record) in result.Records)
        {
            response.Records.Add(ProtoRecord.Of(key, record));
        }

        return response;
    }

    private const long MaxMilliseconds = 24 * 60 * 60 * 1000;

    private static bool TryRead(RepeatedField<Step> steps, OneShot plan, bool then, out string wrong)
    {
        OneShot.Branch branch = plan.Of(then);
        string name = then ? "then" : "otherwise";
        wrong = "";
        for (int i = 0; i < steps.Count && wrong.Length == 0; i++)
        {
            switch (steps[i].KindCase)
            {
                case Step.KindOneofCase.Get:
                    branch.Get(steps[i].Get.Memory);
                    break;
                case Step.KindOneofCase.Write:
                    if (!ProtoBatch.TryAdd(branch.Write(), steps[i].Write, out wrong, plan.Functions))
                    {
                        wrong = $"{name}[{i}].write {wrong}";
                    }

                    break;
                default:
                    wrong = $"{name}[{i}] has neither a get nor a write";
                    break;
            }
        }

        if (branch.Gets > DataPlane.MaxGetKeys)
        {
            wrong = $"{name} reads {branch.Gets} keys, more than the {DataPlane.MaxGetKeys} that one request may read";
        }

        return wrong.Length == 0;
    }
}
