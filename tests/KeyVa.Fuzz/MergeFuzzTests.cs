using System.Buffers;
using System.Text;
using System.Text.Json;
using Xunit;

namespace KeyVa.Fuzz;

/// <summary>
/// The merge functions on hostile values and operands: an answer or a refusal, never thrown at, and what is made of JSON is JSON again.
/// </summary>
public sealed class MergeFuzzTests : Fuzzing
{
    private static readonly byte[][] Texts = [.. new[]
    {
        """{"a":{"b":[1,2.50e+1,null],"c":"\u00e9\n"},"d":true,"a":0}""",
        """[1,"1",[],{},{"x":1,"y":[0.10]},-0,1e400,null]""",
        new string('[', 63) + new string(']', 63),
        string.Concat(Enumerable.Repeat("{\"a\":", 60)) + "1" + new string('}', 60),
        "-9223372036854775808", "1.7976931348623157E+308", "0", "",
    }.Select(Encoding.UTF8.GetBytes)];

    [Fact]
    public void AFunctionAnswersOrRefuses() => Run(60_000, Texts, static (input, random) =>
    {
        byte[] other = random.Next(3) == 0 ? input : Mutation.Next(random, Texts);
        bool exists = random.Next(4) > 0;
        foreach (MergeFunction function in MergeFunction.BuiltIn)
        {
            string? first = Call(function, exists, other, input, out byte[] result);
            Assert.Equal(first, Call(function, exists, other, input, out byte[] again));
            Assert.Equal(result, again);
            if (first is not null)
            {
                Assert.NotEmpty(first);
            }
            else if (function == MergeFunction.JsonMergePatch || function == MergeFunction.SetUnion)
            {
                using JsonDocument valid = JsonDocument.Parse(result);

                // Both are idempotent.
                Assert.Null(Call(function, true, result, input, out again));
                Assert.Equal(result, again);
            }
        }
    });

    private static string? Call(MergeFunction function, bool exists, byte[] existing, byte[] operand, out byte[] result)
    {
        var written = new ArrayBufferWriter<byte>();
        string? refused = function.Merge(new MergeInput { Key = "k"u8, Exists = exists, Existing = exists ? existing : [], Operand = operand }, written);
        result = refused is null ? written.WrittenSpan.ToArray() : [];
        return refused;
    }
}
