from astr_jax.instruments.memory import inference_memory, largest_buffer, matching_matrix


def test_the_largest_buffer_is_read_from_the_program():
    program = "%a = f32[2,3]{1,0} add(f32[2,3] %x, pred[] %y), %b = (s32[7]{0}, bf16[4,5,6]{2,1,0})"
    assert largest_buffer(program) == 120
    assert largest_buffer("no arrays, pred[] only") == 0


def test_no_program_of_a_match_holds_the_matching_matrix(micro_config):
    programs = inference_memory(micro_config, 320)
    assert [p.program for p in programs] == ["encode", "coarse", "fine"]
    assert matching_matrix(320) == 1600**2
    for program in programs:
        assert 0 < program.largest < matching_matrix(320)
        assert program.temporary > 0
